"""The same few students under other teachers and on other bases: ``python -m editlib.studies``.

A variation changes one setting of a profile, and so all data and students: it is a workspace of
its own, results/studies/<variation>/, whose stages are kept as those of a profile are. Tables of
all variations that are done lie in results/studies/tables/.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from editlib import (
    base_student,
    claims,
    cores,
    dual,
    evaluation,
    exams,
    figures,
    grid,
    manifest,
    options,
    pipeline,
    profiles,
    puzzles,
    statistics,
)
from editlib.base_student import Recipe
from editlib.errors import KitError, unknown
from editlib.methods import control
from editlib.pair_sets import PAIR_SETS
from editlib.records import atomic_write
from editlib.workspace import MissingInput, Workspace, open_workspace

EDIT, OTHERS = "EDIT", ("Std-CoT", "EDIT w/o KRSL continued")
ERRORS, PARAPHRASE, SIZE = "teacher errors", "teacher paraphrase", "student size"
STUDIES = (ERRORS, PARAPHRASE, SIZE)
RATES = {"half": 0.5, "as is": 1.0, "double": 2.0}  # times the profile's error rates
PARAPHRASES = (0.0, 0.15, 0.5)
SMALLER = (
    replace(Recipe(), width=64, layers=2, heads=2),
    replace(Recipe(), width=96, layers=3, heads=3),
)
AS_IS = "as is"
ALWAYS = (  # what every variation changes in its profile
    f"training.methods={json.dumps([*OTHERS, EDIT])}",
    "training.ablations=null",
    "training.follow_test=false",
    "exam={}",
)
# Measured: a variation as mini on 2 cores; base students by width, each on a core of its own
MINUTES, BASE_MINUTES = 7, {64: 40, 96: 75}


@dataclass(frozen=True)
class Variation:
    """One value of one setting."""

    study: str
    value: str
    setting: str  # what was set, in words
    overrides: tuple[str, ...] = ()  # of the profile
    base: Recipe | None = None  # the base student to train first

    @property
    def name(self) -> str:
        """The folder of its workspace; studies share the one that changes nothing."""
        return f"{self.study}, {self.value}" if self.overrides or self.base else AS_IS


def variations(
    profile: profiles.Profile, smaller: Sequence[Recipe] = SMALLER
) -> tuple[Variation, ...]:
    """All variations of a profile, study by study, each from the lowest value to the highest.

    smaller: base students beside the profile's own. Raises KitError where no puzzle teacher
    teaches, since no other has these settings.
    """
    teacher = profile.teacher
    if teacher.kind != "puzzle" or profile.student is None:
        raise KitError(
            f"studies vary the puzzle teacher and the student, found teacher.kind {teacher.kind}: "
            "name a profile such as mini"
        )
    rates = [_rates(value, times, teacher.error_rates) for value, times in RATES.items()]
    paraphrases = [
        Variation(
            PARAPHRASE,
            f"{share:g}",
            f"{share:.0%} of the steps worded anew",
            (f"teacher.paraphrase={share}",) if share != teacher.paraphrase else (),
        )
        for share in PARAPHRASES
    ]
    own = _size(Recipe()) if profile.student.base == "bundled" else profile.student.base
    sizes = [Variation(SIZE, _size(each), _words(each), base=each) for each in smaller]
    return (*rates, *paraphrases, *sizes, Variation(SIZE, own, "the base student of the profile"))


def _rates(value: str, times: float, own: profiles.ErrorRates) -> Variation:
    scaled = {kind: round(min(1.0, times * rate), 4) for kind, rate in own.model_dump().items()}
    said = ", ".join(f"{kind} {rate:g}" for kind, rate in scaled.items())
    changes = (f"teacher.error_rates={json.dumps(scaled)}",) if times != 1 else ()
    return Variation(ERRORS, value, said, changes)


def _size(recipe: Recipe) -> str:
    return f"{recipe.width} x {recipe.layers}"


def _words(recipe: Recipe) -> str:
    return f"width {recipe.width}, {recipe.layers} layers"


# --- running ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Studies:
    """A profile, with overrides, and the folder of all its variations."""

    profile: str
    overrides: tuple[str, ...]
    root: Workspace

    def workspace(self, variation: Variation) -> Workspace:
        """Where a variation reads and writes."""
        changes = [*self.overrides, *ALWAYS, *variation.overrides]
        if variation.base:
            folder = self.root.artifacts / _base_stage(variation.base)
            changes.append(f"student.base={json.dumps(str(folder))}")
        settings = profiles.load(self.profile, changes)
        return Workspace(self.root.name, settings, self.root.folder / variation.name)

    def is_done(self, variation: Variation) -> bool:
        """Whether its answers are on disk, made with the settings of now."""
        try:
            self.workspace(variation).need("evaluation")
        except MissingInput:
            return False
        return True


def open_studies(
    profile: str = "mini", overrides: Sequence[str] = (), results: Path | None = None
) -> Studies:
    """The studies of a profile, in the folder studies beside that of the profile."""
    ws = open_workspace(profile, overrides, results)
    root = Workspace(ws.name, ws.profile, ws.folder.parent / "studies")
    return Studies(profile, tuple(overrides), root)


def run(studies: Studies, chosen: Sequence[Variation], everything: Sequence[Variation]) -> None:
    """Bring the chosen variations up to date; after each, the tables of everything that is done."""
    bases = list(dict.fromkeys(each.base for each in chosen if each.base))
    if bases:
        cores.run_all(partial(train_base, studies.root), bases, desc="base students")
    for number, variation in enumerate(chosen, start=1):
        started, ws = time.monotonic(), studies.workspace(variation)
        pipeline.annotate(ws)
        pipeline.build_duals(ws)
        pipeline.locate(ws)
        grid.train(ws)
        exams.evaluate(ws)
        write_tables(studies, everything)
        _write_manifest(studies)
        minutes = (time.monotonic() - started) / 60
        print(f"[{number}/{len(chosen)}] {variation.study}: {variation.value}  {minutes:.1f} min")


def _write_manifest(studies: Studies) -> None:
    """With what versions, settings and hardware the variations were run."""
    header = manifest.describe(studies.root, studies.overrides)
    text = json.dumps(header, indent=1, ensure_ascii=False) + "\n"
    path = studies.root.folder / "manifest.json"
    atomic_write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def train_base(root: Workspace, recipe: Recipe) -> Path:
    """Train a base student as `make base-student` does, of another size; returns its folder."""
    cores.settle()
    make = partial(base_student.train, recipe)
    code = [base_student, puzzles]
    return root.stage(_base_stage(recipe), make, code=code, params=asdict(recipe))


def _base_stage(recipe: Recipe) -> str:
    return f"bases/{_size(recipe)}"


def cost(studies: Studies, chosen: Sequence[Variation]) -> str:
    """What is still to be done, and about how long it takes; printed before anything runs."""
    todo = {each.name: each for each in chosen if not studies.is_done(each)}
    bases = {each.base for each in todo.values() if each.base}
    missing = [b for b in bases if not (studies.root.artifacts / _base_stage(b)).exists()]
    first = max((BASE_MINUTES.get(each.width, 0) for each in missing), default=0)
    said = f"{len(todo)} of {len({each.name for each in chosen})} variations to run"
    said += f", {len(missing)} base students to train first" if missing else ""
    minutes = first + MINUTES * len(todo)
    return f"{said}: about {minutes} min on 2 cores in mini. Interrupted, it goes on where it was."


# --- tables ----------------------------------------------------------------------------------


def write_tables(studies: Studies, everything: Iterable[Variation]) -> None:
    """studies.csv, its summary and differences, and the figure, of the variations that are done.

    studies: study, value, setting, method, seed, split, n, accuracy. studies_data: study, value,
    setting, wrong (share of first CoTs), first_phase (CoTs of D+merge), pairs, and D-dual (their
    share that comes from D-). studies_summary: study, value, domain, method and the columns of
    statistics.summarise. studies_differences: EDIT less each other method, the columns of
    against().
    """
    done = [each for each in everything if studies.is_done(each)]
    answered = pd.concat(
        [
            exams.read_predictions(studies.workspace(each)).assign(
                study=each.study, value=each.value, setting=each.setting
            )
            for each in done
        ],
        ignore_index=True,
    )
    by = ["study", "value", "setting", "method", "seed", "split"]
    root, tidy = studies.root, evaluation.accuracy_table(answered, by)
    root.save_table(tidy[[*by, "n", "accuracy"]], "studies")
    root.save_table(pd.DataFrame([_learnt(studies, each) for each in done]), "studies_data")
    apart = claims.by_domain(answered).query("domain != 'all'")  # which the figure has no room for
    summary = statistics.summarise(apart, ["study", "value", "domain", "method"])
    root.save_table(summary, "studies_summary")
    contests = [(EDIT, other) for other in OTHERS]
    root.save_table(against(answered, contests, ["study", "value"]), "studies_differences")
    root.save_figure(figures.accuracy_by_setting(summary), "studies")


def _learnt(studies: Studies, variation: Variation) -> dict:
    """What the students of a variation had to learn from."""
    cots, duals = pipeline.read_duals(studies.workspace(variation))
    first = [cot for cot in cots if cot.role in dual.ASKED["CEP"]]
    return {
        "study": variation.study,
        "value": variation.value,
        "setting": variation.setting,
        "wrong": len(dual.with_role(cots, "wrong")) / len(first),
        "first_phase": len(dual.merge(cots)),
        "pairs": len(duals),
        "D-dual": sum(pair.subset == "D-dual" for pair in duals) / len(duals),
    }


def saved(ws: Workspace) -> dict[str, pd.DataFrame]:
    """The tables of the studies that lie beside a profile's results, by name; empty: none do."""
    folder = ws.folder.parent / "studies" / "tables"
    return {path.stem: pd.read_csv(path, dtype={"value": str}) for path in folder.glob("*.csv")}


def set_contests() -> list[tuple[str, str]]:
    """What EDIT and each set of pairs is held against, for against().

    Its control of equal updates, and the first of them that makes equally many: so sets of one
    size are compared with one another, and sets of all pairs with EDIT.
    """
    contests, first = [], {}
    for method in (EDIT, *(f"{EDIT}, {name}" for name in PAIR_SETS)):
        rival = control(method)
        contests.append((method, rival))
        if first.setdefault(rival, method) != method:
            contests.append((method, first[rival]))
    return contests


def against(
    predictions: pd.DataFrame, contests: Iterable[tuple[str, str]], by: Sequence[str] = ()
) -> pd.DataFrame:
    """Each method less its baseline, on the same questions and seeds, by domain.

    contests: method and baseline; those of which one has no answers are left out. by: further
    columns that cut the predictions. Returns by, domain, the columns of statistics.contrast and
    p_holm: p corrected over all rows.
    """
    cut, contests = [*by, "domain"], list(contests)
    rows = [
        dict(zip(cut, key, strict=True)) | statistics.contrast(group, method, baseline)
        for key, group in claims.by_domain(predictions).groupby(cut, sort=False)
        for method, baseline in contests
        if {method, baseline} <= set(group["method"])
    ]
    table = pd.DataFrame(rows)
    return table.assign(p_holm=statistics.holm(table["p"])) if len(table) else table


# --- the command line ------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="editlib.studies",
        description="Train the students of a profile under weaker and stronger teachers, teachers "
        "that paraphrase less and more, and on smaller bases. In mini 7 variations, "
        f"{MINUTES} minutes each on 2 cores, after two base students, up to "
        f"{max(BASE_MINUTES.values())} minutes side by side.",
    )
    options.add(parser)
    parser.add_argument("--only", nargs="+", default=list(STUDIES), metavar="STUDY")
    return parser


def _prepare_and_run(arguments: argparse.Namespace) -> None:
    for name in arguments.only:
        if name not in STUDIES:
            raise KitError(unknown("study", name, STUDIES))
    overrides = options.split_assignments(arguments.set)
    studies = open_studies(arguments.profile, overrides, arguments.results)
    everything = variations(studies.root.profile)
    chosen = [each for each in everything if each.study in arguments.only]
    print(cost(studies, chosen), flush=True)
    run(studies, chosen, everything)
    print(f"{studies.root.folder / 'tables'} holds the results; notebook 05 shows them")


def main(argv: Sequence[str] | None = None) -> int:
    """0: all is up to date; 2: bad input, nothing was run; 130: interrupted."""
    try:
        _prepare_and_run(_parser().parse_args(argv))
    except KitError as error:
        options.complain(error)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
