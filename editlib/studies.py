"""The same few students under other teachers and on other bases: ``python -m editlib.studies``.

A variation changes one setting of a profile, and so all data and students: it is a workspace of
its own, results/studies/<variation>/, whose stages are kept as those of a profile are. Tables of
all variations that are done lie in results/studies/tables/.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from editlib import (
    base_student,
    bases,
    claims,
    contests,
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
    training,
)
from editlib.base_student import Recipe
from editlib.errors import KitError, unknown
from editlib.records import atomic_write
from editlib.workspace import STUDYING, MissingInput, Workspace, digest, open_workspace

EDIT, OTHERS = "EDIT", ("Std-CoT", "EDIT w/o KRSL continued")
ERRORS, PARAPHRASE, SIZE = "teacher errors", "teacher paraphrase", "student size"
STUDIES = (ERRORS, PARAPHRASE, SIZE)
RATES = {"half": 0.5, "as is": 1.0, "double": 2.0}  # times the profile's error rates
PARAPHRASES = (0.0, 0.15, 0.5)
SMALLER = (
    replace(Recipe(), width=64, layers=2, heads=2),
    replace(Recipe(), width=96, layers=3, heads=3),
)
STEPS = {"sft": 2, "krsl": 3}  # from one learning rate to the next, as `make search` goes
AS_IS, MANIFEST = "as is", "manifest.json"
STUDIED = "mini"  # the profile that `make studies` varies unless it is told another
ALWAYS = (  # what every variation changes in its profile
    f"training.methods={json.dumps([*OTHERS, EDIT])}",
    "training.ablations=null",
    "training.follow_test=false",
    "exam={}",
)
REPLACED = ("methods", "ablations", "follow_test")  # in training, by ALWAYS
# As mini on 2 cores, measured: a variation; one that tries three rates (the largest student); base
# students by width, each on a core of its own
MINUTES, SEARCH_MINUTES, BASE_MINUTES = 7, 17, {64: 30, 96: 65}


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

    smaller: base students beside the profile's own. Where the checkpoint rule asks, those
    of every size try the rates beside the profile's, which were found for one size, too. Raises
    KitError where no puzzle teacher teaches, since no other has these settings.
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
    return (*rates, *paraphrases, *_sizes(profile, smaller))


def _sizes(profile: profiles.Profile, smaller: Sequence[Recipe]) -> list[Variation]:
    own = _size(Recipe()) if profile.student.base == "bundled" else profile.student.base
    sizes = [(_size(each), f"width {each.width}, {each.layers} layers", each) for each in smaller]
    sizes.append((own, "the base student of the profile", None))
    chooser = grid.ASKED[profile.training.checkpoint]
    tried = _rates_beside(profile.training) if chooser else ()
    how = f"rates chosen by {chooser}" if chooser else "rates of the profile"
    return [Variation(SIZE, size, f"{said}; {how}", tried, base) for size, said, base in sizes]


def _rates_beside(training: profiles.Training) -> tuple[str, ...]:
    """Overrides that let each objective try a rate below the profile's and one above."""
    rates = {name: getattr(training, name).lr for name in STEPS}
    beside = {name: [lr / STEPS[name], lr * STEPS[name]] for name, lr in rates.items()}
    return tuple(f"training.{name}.also_try={json.dumps(both)}" for name, both in beside.items())


def _rates(value: str, times: float, own: profiles.ErrorRates) -> Variation:
    scaled = {kind: round(min(1.0, times * rate), 4) for kind, rate in own.model_dump().items()}
    said = ", ".join(f"{kind} {rate:g}" for kind, rate in scaled.items())
    changes = (f"teacher.error_rates={json.dumps(scaled)}",) if times != 1 else ()
    return Variation(ERRORS, value, said, changes)


def _size(recipe: Recipe) -> str:
    return f"{recipe.width} x {recipe.layers}"


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
        """Whether its answers are on disk, made with the settings and base student of now."""
        ws = self.workspace(variation)
        try:
            ws.need("evaluation")
        except MissingInput:
            return False
        return _manifest(ws.folder).get("base") == _base(ws)


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
        _write_manifest(ws, studies.overrides)
        write_tables(studies, everything)
        _write_manifest(studies.root, studies.overrides)
        minutes = (time.monotonic() - started) / 60
        print(f"[{number}/{len(chosen)}] {variation.study}: {variation.value}  {minutes:.1f} min")


def _write_manifest(ws: Workspace, overrides: Sequence[str]) -> None:
    """With what versions, settings, base student and hardware it was run."""
    header = manifest.describe(ws, overrides) | {"base": _base(ws)}
    text = json.dumps(header, indent=1, ensure_ascii=False) + "\n"
    path = ws.folder / MANIFEST
    atomic_write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _manifest(folder: Path) -> dict:
    """What _write_manifest wrote; empty where it did not."""
    path = folder / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _base(ws: Workspace) -> str:
    """A fingerprint of the base student; its settings name it only by where it lies."""
    return digest(*bases.base_files(ws.profile.student))


def train_base(root: Workspace, recipe: Recipe) -> Path:
    """Train a base student as `make base-student` does, of another size; returns its folder.

    Killed, it goes on from its last checkpoint, a minute or less before.
    """
    scratch = root.artifacts / "checkpoints"
    make = partial(base_student.train, recipe, scratch=scratch)
    code = [base_student, puzzles]
    folder = root.stage(_base_stage(recipe), make, code=code, params=asdict(recipe))
    training.discard(base_student.checkpoints(recipe, scratch))
    return folder


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
    minutes = first + sum(SEARCH_MINUTES if e.study == SIZE else MINUTES for e in todo.values())
    return f"{said}: about {minutes} min on 2 cores in mini. Interrupted, it goes on where it was."


# --- tables ----------------------------------------------------------------------------------


def write_tables(studies: Studies, everything: Iterable[Variation]) -> None:
    """studies.csv, its summary and differences, and the figure, of the variations that are done.

    studies: study, value, setting, method, seed, split, n, accuracy. studies_data: study, value,
    setting, wrong (share of first CoTs), first_phase (CoTs of D+merge), pairs, and D-dual (their
    share that comes from D-). studies_summary: study, value, domain, method and the columns of
    statistics.summarise. studies_differences: as differences() returns it.
    """
    done = [each for each in everything if studies.is_done(each)]
    answers = {each.name: exams.read_predictions(studies.workspace(each)) for each in done}
    answered = pd.concat(
        [
            answers[each.name].assign(study=each.study, value=each.value, setting=each.setting)
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
    root.save_table(differences(answers, done), "studies_differences")
    root.save_figure(figures.accuracy_by_setting(summary), "studies")


def differences(answers: Mapping[str, pd.DataFrame], done: Iterable[Variation]) -> pd.DataFrame:
    """EDIT less each other method: study, value and the columns of contests.against().

    answers: of each variation, by its name. The family is all studies that are done, apart from the
    claims, which speak of the profile's own students. The variation that changes nothing has a row
    in several studies and is tested once.
    """
    named = [frame.assign(name=name) for name, frame in answers.items()]
    tests = contests.against(pd.concat(named), [(EDIT, other) for other in OTHERS], ["name"])
    places = pd.DataFrame([(each.study, each.value, each.name) for each in done])
    return (
        places.set_axis(["study", "value", "name"], axis=1)
        .merge(tests, on="name")
        .drop(columns="name")
    )


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
    """The tables of the studies that lie beside a profile's results, by name.

    Empty where there are none that vary what this profile is now, its settings and its base
    student: origin() says which.
    """
    folder = _beside(ws) / "tables"
    paths = folder.glob("*.csv") if _are_of(ws, _manifest(_beside(ws))) else ()
    return {path.stem: pd.read_csv(path, dtype={"value": str}) for path in paths}


def origin(ws: Workspace) -> str:
    """A line on the studies that saved() reads, in Markdown: whose they are, or why it has none.

    Where a profile has none, the line points to STUDIED.
    """
    found, make = _manifest(_beside(ws)), f"`make studies PROFILE={ws.name}`"
    commit = (found.get("commit") or {}).get("id", "unknown")[:7]
    made = f"studies of profile {found.get('profile')}, made at commit {commit}"
    if _are_of(ws, found):
        return f"These are {made}."
    if found.get("profile") == ws.name:
        return f"There are {made}, but with other settings or another base student. Anew: {make}."
    if ws.name == STUDIED:
        return f"Not run yet: {make}, then `make reproduce PROFILE={ws.name} ONLY=05 FORCE=1`."
    return (
        f"None of profile {ws.name}: those that `make studies` runs are of profile {STUDIED}, "
        "and its notebook 05 shows them."
    )


def _beside(ws: Workspace) -> Path:
    return ws.folder.parent / "studies"


def _are_of(ws: Workspace, found: dict) -> bool:
    """Whether studies with this manifest vary what a profile is now."""
    if found.get("base") != _base(ws):
        return False
    try:  # a setting that was not there yet was what its default is now
        then = profiles.Profile.model_validate(found["settings"])
    except ValidationError:
        return False
    return _decisive(then) == _decisive(ws.profile)


def _decisive(profile: profiles.Profile) -> dict:
    """The settings of a profile that its studies keep."""
    settings = profile.model_dump(mode="json")
    kept = {name: settings[name] for name in STUDYING}
    training = {name: v for name, v in kept["training"].items() if name not in REPLACED}
    return kept | {"training": training}


# --- the command line ------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="editlib.studies",
        description="Train the students of a profile under weaker and stronger teachers, teachers "
        "that paraphrase less and more, and on smaller bases. In mini 8 variations, "
        f"{MINUTES} or, where rates are tried, {SEARCH_MINUTES} minutes each on 2 cores, after two "
        f"base students, up to {max(BASE_MINUTES.values())} minutes side by side.",
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
