"""HTML for notebooks: the header of a run, text as a teacher wrote it, coloured dual CoTs.

Everything shown is escaped: markup, control characters and formulas in a model's text are visible
and without effect. Marks are tags as well as colours, since some viewers drop all styles.
"""

import html
import platform
import unicodedata
from collections.abc import Mapping, Sequence
from importlib import metadata
from itertools import groupby

import numpy as np
import pandas as pd
import torch
from IPython.display import HTML
from pandas.api.types import is_numeric_dtype, is_scalar

import editlib
from editlib.checking import Check, check
from editlib.keysteps import Segmenter, Segments, Ties, edits
from editlib.manifest import data_fingerprint
from editlib.records import DualCoT
from editlib.workspace import Workspace, digest

INK = "color:#111;padding:0 2px;border-radius:2px;"  # dark on a light ground in any theme
TAGS = {  # what an edit looks like; colours are safe for colour-blind eyes and differ in grey
    "equal": ("", ""),
    "insert": (f'<ins style="{INK}background:#cfe8ff">', "</ins>"),
    "delete": (f'<del style="{INK}background:#ffd9b8">', "</del>"),
    "replace": (f'<b style="{INK}background:#f6e27a">', "</b>"),
}
MISTAKE = ('<u style="text-decoration:underline wavy #b00020">', "</u>")
LEGEND = (
    f"{TAGS['replace'][0]}bold{TAGS['replace'][1]}: differs from the other side; "
    f"{TAGS['insert'][0]}underlined{TAGS['insert'][1]}: only in the correct CoT; "
    f"{TAGS['delete'][0]}struck through{TAGS['delete'][1]}: only in the wrong CoT"
)
CELL = 'align="left" valign="top" style="text-align:left;vertical-align:top'
SCROLL = "max-height:26em;overflow:auto"
NO_FORMULAS = 'class="tex2jax_ignore mathjax_ignore"'  # a dollar in a text is a dollar


# --- text -------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """Text as HTML that shows each character and runs none; a line feed becomes a line break.

    >>> escape("a < b\\n\\x07")
    'a &lt; b<br>␇'
    """
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character == "\n":
        return "<br>"
    if ord(character) < 32:
        return chr(0x2400 + ord(character))  # the picture of a control character
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return f"[U+{ord(character):04X}]"  # such as marks that turn the reading direction
    return html.escape(character)


def boxes(texts: Mapping[str, str]) -> HTML:
    """Texts side by side, each under its title."""
    return HTML(_columns({escape(title): escape(text) for title, text in texts.items()}))


def _columns(cells: Mapping[str, str]) -> str:
    """A table of one row from HTML by title; long cells scroll where styles are kept."""
    width = f'width="{100 // len(cells)}%"'
    heads = "".join(f'<th {width} {CELL}">{title}</th>' for title in cells)
    bodies = "".join(
        f'<td {width} {CELL};white-space:pre-wrap"><div style="{SCROLL}">{body}</div></td>'
        for body in cells.values()
    )
    return (
        f'<table {NO_FORMULAS} width="100%" style="width:100%;table-layout:fixed">'
        f"<tr>{heads}</tr><tr>{bodies}</tr></table>"
    )


# --- dual CoTs --------------------------------------------------------------------------------


def dual(
    pair: DualCoT,
    segment: Segmenter,
    ties: Ties = "library",
    mistakes: Sequence[tuple[int, int]] = (),
) -> HTML:
    """A dual CoT side by side, its key steps marked as keysteps.edits labels them.

    mistakes: spans (start, end) of characters of the wrong CoT that are known to be mistakes.
    """
    correct, wrong = segment(pair.correct), segment(pair.wrong)
    labels = edits(correct.ids, wrong.ids, ties)
    labels[labels == "delete"] = "insert"  # seen from the wrong side, as in section 3.3
    sides = {
        f"Correct CoT, answer {escape(pair.correct_answer)}": marked(pair.correct, correct, labels),
        f"Wrong CoT, answer {escape(pair.wrong_answer)}": marked(
            pair.wrong, wrong, edits(wrong.ids, correct.ids, ties), mistakes
        ),
    }
    legend = LEGEND + (f"; {MISTAKE[0]}wavy{MISTAKE[1]}: a known mistake" if mistakes else "")
    return HTML(
        f"<p {NO_FORMULAS}><b>{escape(pair.id)}</b><br>{escape(pair.question)}</p>"
        f"{_columns(sides)}<p><small>{legend}</small></p>"
    )


def found(
    id: str, question: str, text: str, spans: Sequence[tuple[int, int, str]], said: str
) -> HTML:
    """A CoT in full beside its question, with what a classifier found in it.

    spans: (start, end, why) of characters of the text; said: the classifier's verdict.
    """
    known = np.zeros(len(text), dtype=bool)
    for start, end, _ in spans:
        known[start:end] = True
    cells = {"Question": escape(question), f"CoT, {escape(said)}": _underlined(text, known)}
    reasons = "".join(
        f"<li>{MISTAKE[0]}{escape(text[start:end])}{MISTAKE[1]}: {escape(why)}</li>"
        for start, end, why in spans
    )
    return HTML(
        f"<p {NO_FORMULAS}><b>{escape(id)}</b></p>{_columns(cells)}<ul {NO_FORMULAS}>{reasons}</ul>"
    )


def marked(
    text: str,
    segments: Segments,
    labels: Sequence[str],
    mistakes: Sequence[tuple[int, int]] = (),
) -> str:
    """Text as HTML with a mark around each run of units of one label ("equal" bears none).

    A mark covers its units and what lies between them, nothing else; of a unit that begins with a
    space, as tokens do, it covers the rest.
    """
    label = np.full(len(text), "equal", dtype="<U7")
    last_end, last_label = 0, "equal"
    for (start, end), name in zip(segments.spans, labels, strict=True):
        unit = text[start:end]
        indent = len(unit) - len(unit.lstrip(" ")) if unit.strip() else 0
        label[last_end if name == last_label else start + indent : end] = name
        last_end, last_label = end, name
    known = np.zeros(len(text), dtype=bool)
    for start, end in mistakes:
        known[start:end] = True
    runs = groupby(range(len(text)), key=lambda i: str(label[i]))
    return "".join(_wrap(TAGS[name], _underlined(text, known, list(run))) for name, run in runs)


def _underlined(text: str, known: np.ndarray, run: Sequence[int] | None = None) -> str:
    """The characters of a run (None: all), those known to be wrong underlined."""
    parts = groupby(range(len(text)) if run is None else run, key=lambda i: bool(known[i]))
    return "".join(
        _wrap(MISTAKE if mistake else ("", ""), escape("".join(text[i] for i in part)))
        for mistake, part in parts
    )


def _wrap(tags: tuple[str, str], inner: str) -> str:
    return f"{tags[0]}{inner}{tags[1]}"


# --- chains that were checked ----------------------------------------------------------------

CHECKED = (
    f"{TAGS['replace'][0]}bold{TAGS['replace'][1]}: a value that is decided there; "
    f"{MISTAKE[0]}wavy{MISTAKE[1]}: does not follow from what was said before"
)


def checked(text: str, found: Check) -> str:
    """A chain as HTML: what is decided in it is bold, what does not follow is underlined."""
    label = np.full(len(text), "equal", dtype="<U7")
    wrong = np.zeros(len(text), dtype=bool)
    for step in found.steps:
        for value in step.values:
            label[value.start : value.end] = "replace" if value.key else "equal"
            wrong[value.start : value.end] = value.wrong
        if not step.formed:
            wrong[step.start : step.end] = True
    runs = groupby(range(len(text)), key=lambda i: str(label[i]))
    return "".join(_wrap(TAGS[name], _underlined(text, wrong, list(run))) for name, run in runs)


def cases(question: str, chains: Mapping[str, str]) -> HTML:
    """Chains on one puzzle side by side, each under its title, checked and coloured."""
    sides = {escape(title): checked(text, check(question, text)) for title, text in chains.items()}
    return HTML(
        f"<p {NO_FORMULAS}>{escape(question)}</p>{_columns(sides)}<p><small>{CHECKED}</small></p>"
    )


# --- tables -----------------------------------------------------------------------------------


def header(ws: Workspace, inputs: Sequence[str] = ()) -> HTML:
    """What this notebook runs with: profile, versions, device and fingerprints of its inputs.

    inputs: stages made by earlier notebooks. Raises MissingInput naming the notebook that makes
    one that is missing, damaged or of other settings.
    """
    versions = {name: metadata.version(name) for name in ("torch", "transformers", "pandas")}
    rows = {
        "profile": f"{ws.name} (settings {_short(ws.profile.model_dump(mode='json'))})",
        "kit": f"editlib {editlib.__version__}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "device": "GPU" if torch.cuda.is_available() else "CPU",
    }
    if data := data_fingerprint(ws):
        rows["data"] = f"EDITLIB_DATA_DIR ({data[:12]})"
    rows |= {f"input {name}": _short(ws.outputs(name)) for name in inputs}
    lines = (
        _line("td", [escape(name), escape(value)], ["left"] * 2) for name, value in rows.items()
    )
    return HTML(f"<table>{''.join(lines)}</table>")


def _short(value) -> str:
    return digest(value)[:12]


def times(n: int) -> str:
    """How often.

    >>> times(1), times(3)
    ('once', '3 times')
    """
    return "once" if n == 1 else f"{n} times"


def table(frame: pd.DataFrame, percent: Sequence[str] = (), digits: int = 1) -> HTML:
    """A frame without its index: numbers to the right, text to the left, nothing cut short.

    percent: columns of shares (0 to 1) to be shown as percentages. Missing values stay
    blank; lists and arrays are shown as text.
    """
    sides = ["right" if is_numeric_dtype(frame[name]) else "left" for name in frame]
    head = [escape(str(name)) for name in frame]
    rows = (
        [_value(value, digits if name in percent else None) for name, value in row.items()]
        for row in frame.to_dict("records")
    )
    lines = [_line("th", head, sides), *(_line("td", row, sides) for row in rows)]
    return HTML(f"<table {NO_FORMULAS}>{''.join(lines)}</table>")


def _value(value, percent: int | None) -> str:
    if not is_scalar(value):  # such as a list
        return escape(str(value.tolist() if isinstance(value, np.ndarray) else value))
    if pd.isna(value):
        return ""
    if percent is not None:
        return f"{100 * value:z.{percent}f}%"  # z: no minus before a zero
    return escape(f"{value:z.4g}" if isinstance(value, float) else str(value))


def _line(tag: str, cells: Sequence[str], sides: Sequence[str]) -> str:
    inner = (
        f'<{tag} align="{side}" style="text-align:{side};vertical-align:top">{cell}</{tag}>'
        for cell, side in zip(cells, sides, strict=True)
    )
    return f"<tr>{''.join(inner)}</tr>"
