"""Definitions, written to be read: what the fast paths are tested and measured against."""

from collections.abc import Sequence

from editlib.keysteps import common_prefix


def edit_table(a: Sequence[int], b: Sequence[int]) -> list[list[int]]:
    """table[i][j]: the fewest deletions, insertions and replacements from a[:i] to b[:j]."""
    table = [[i + j if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            diagonal = table[i - 1][j - 1] + (x != y)
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, diagonal)
    return table


def authors_key(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """The key positions of a by the published backtrace.

    The common prefix is stripped; then back from the end: delete, else insert, else diagonal.
    """
    start = common_prefix(a, b)
    a, b = a[start:], b[start:]
    table = edit_table(a, b)
    i, j, key = len(a), len(b), []
    while i or j:
        if i and table[i][j] == table[i - 1][j] + 1:
            i -= 1
            key.append(start + i)
        elif j and table[i][j] == table[i][j - 1] + 1:
            j -= 1
        else:
            i, j = i - 1, j - 1
            key += [start + i] * (a[i] != b[j])
    return key[::-1]
