"""Where time goes: that of a run by notebook, that of a step and of answers by operation."""

import json
from collections.abc import Callable
from pathlib import Path

from torch.profiler import ProfilerActivity
from torch.profiler import profile as watch

from editlib import bases, decoding, keysteps, profiles, prompts, puzzles, ragged, students
from editlib.bench import one_thread, pairs, seconds_of, steps
from editlib.workspace import KIT

PARTS = {  # part: what the names of its operations hold
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "attention": ("scaled_dot_product",),
    "copies": ("aten::cat", "aten::copy_", "aten::index", "aten::fill_"),
}
OTHER, OUTSIDE = "other operations", "outside of operations"
BATCH = 16  # pairs, or rows of SFT, as in mini
Job = Callable[[], object]
STARTING = 4  # cells of code, the last of which imports at the latest


def run(manifest: Path = KIT.parent / "results" / "mini" / "manifest.json") -> list[dict]:
    """Where the time of a run went, as its manifest has it.

    Returns rows of notebook, seconds (of it whole), starting (what is left of imports, which begin
    while the notebook before runs), longest (cell of work), rest; and a last row of their sums.
    """
    rows = []
    for name, told in json.loads(manifest.read_text(encoding="utf-8"))["notebooks"].items():
        cells, whole = told["cell_seconds"], told["seconds"]
        starting, work = sum(cells[:STARTING]), max(cells[STARTING:])
        parts = {"starting": starting, "longest": work, "rest": whole - starting - work}
        rows.append({"notebook": name, "seconds": whole, **parts})
    sums = {name: sum(row[name] for row in rows) for name in rows[0] if name != "notebook"}
    return [*rows, {"notebook": "all", **sums}]


def shares() -> list[dict]:
    """What each piece of work spends its time on, on one thread as in a run.

    Returns rows of work, part, seconds, share (of the time of the work, 0 to 1). The last part is
    Python, and all else that is no operation of torch.
    """
    with one_thread():
        return [row for work, job in _jobs().items() for row in _parts(work, job)]


def _jobs() -> dict[str, Job]:
    settings = profiles.load("mini").student
    tokenizer, base = bases.load_tokenizer(settings), students.load_base(settings)
    asked = [prompts.student(q.text) for q in puzzles.questions("validation", BATCH)]
    duals = pairs.of_puzzles(BATCH)[:: len(puzzles.IN_DOMAIN)]
    rows = pairs.tokenized(duals, keysteps.TokenSegmenter(tokenizer))
    sides = steps.responses(rows)[::2]
    student = students.fresh(settings, seed=0).train()
    ragged.install(student.get_base_model())
    return {
        "SFT step": lambda: steps.kit_step(student, sides, steps.SFT),
        "KRSL step": lambda: steps.kit_step(student, rows, steps.KRSL),
        f"{len(asked)} answers": lambda: decoding.greedy(base, tokenizer, asked, 224, 128),
    }


def _parts(work: str, job: Job) -> list[dict]:
    job()
    with watch(activities=[ProfilerActivity.CPU]) as watched:
        whole = seconds_of(job)
    spent = dict.fromkeys([*PARTS, OTHER], 0.0)
    for event in watched.key_averages():
        named = [part for part, names in PARTS.items() if any(n in event.key for n in names)]
        spent[(named or [OTHER])[0]] += event.self_cpu_time_total / 1e6  # microseconds
    spent[OUTSIDE] = max(whole - sum(spent.values()), 0.0)
    return [
        {"work": work, "part": part, "seconds": seconds, "share": seconds / whole}
        for part, seconds in spent.items()
    ]
