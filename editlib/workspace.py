"""Where a run reads and writes, and the rule that no stage is computed twice.

A stage is a folder of files made from named parameters, earlier stages and code. Beside the files
lies ``stage.json`` with their fingerprint; as long as the fingerprint and the files are unchanged
the stage is read back instead of being run. A stage is built in a temporary folder and renamed, so
a run killed at any moment leaves either the whole stage or none.
"""

import hashlib
import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import matplotlib
import pandas as pd
from filelock import FileLock
from IPython.display import Image
from matplotlib.figure import Figure
from pydantic import BaseModel, ValidationError

from editlib import profiles
from editlib.errors import KitError
from editlib.records import atomic_write

KIT = Path(__file__).resolve().parent
RESULTS = KIT.parent / "results"
LAB = ("EDITLIB_PROFILE", "EDITLIB_SET", "EDITLIB_RESULTS")  # set by `make lab` alone
FORMAT = 1  # raise it when the meaning of a stage on disk changes

TEACHING = ("benchmark", "teacher")
STUDYING = (*TEACHING, "keysteps", "student", "training", "decoding")
STAGES = {  # stage -> the notebook that makes it, the sections of the profile that it depends on
    "annotation": ("01_teacher_prompting", TEACHING),
    "duals": ("02_dual_cot_construction", TEACHING),
    "resampling": ("02_dual_cot_construction", TEACHING),
    "keysteps": ("03_key_step_extraction", (*TEACHING, "keysteps", "student")),
    "plan": ("04_edit_training", STUDYING),
    "training": ("04_edit_training", STUDYING),
    "evaluation": ("05_evaluation", (*STUDYING, "exam")),
    "self-consistency": ("05_evaluation", (*STUDYING, "exam")),
}


class MissingInput(KitError):
    """A stage that this notebook needs is absent, damaged, or was made with other settings."""


def digest(*parts) -> str:
    """A fingerprint (sha256, hex) of plain values, files of any size, folders and modules."""
    hasher = hashlib.sha256()
    for part in parts:
        with _opened(part) as file:
            hashlib.file_digest(file, lambda: hasher)
        hasher.update(b"\0")
    return hasher.hexdigest()


def _opened(part) -> BinaryIO:
    if isinstance(part, ModuleType):
        source = Path(part.__file__)
        return _opened(source.parent if source.name == "__init__.py" else source)
    if isinstance(part, Path) and part.is_dir():
        files = sorted(p for p in part.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        return BytesIO("".join(f"{p.relative_to(part)}:{digest(p)}\n" for p in files).encode())
    if isinstance(part, Path):
        return part.open("rb")
    return BytesIO(json.dumps(part, sort_keys=True, ensure_ascii=False).encode())


@dataclass(frozen=True)
class Workspace:
    """One profile, resolved, and the folder that holds everything the run writes."""

    name: str
    profile: profiles.Profile
    folder: Path
    options: str = ""  # of make, for the command that an error advises

    def create(self) -> None:
        """Make the folder; raises KitError where nothing can be written."""
        try:
            self.artifacts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise KitError(
                f"results cannot be written to {self.folder}: {error.strerror}. "
                "Name another folder: make ... RESULTS=path"
            ) from error

    @property
    def artifacts(self) -> Path:
        """Students, caches and stage tables: never in git."""
        return self.folder / "artifacts"

    def stage(
        self,
        name: str,
        make: Callable[[Path], None],
        inputs: Sequence[str] = (),
        code: Sequence[ModuleType | Path] = (),
        params: dict | None = None,
    ) -> Path:
        """The folder of a stage, made now unless it is there unchanged.

        make writes the stage's files into the folder it is given. inputs are names of earlier
        stages; code are the modules, files and folders that make it stale when edited; params are
        the settings it depends on (None: the sections of the profile named in STAGES).
        """
        params = self.settings(name) if params is None else params
        fingerprint = digest(FORMAT, params, [self.outputs(i) for i in inputs], digest(*code))
        with self._lock(name):
            folder = self.artifacts / name
            if not self._intact(folder, fingerprint):
                _build(folder, make, fingerprint, params)
        return folder

    def _lock(self, name: str) -> FileLock:
        """One process at a time: a killed run may have left workers that still finish a stage."""
        self.create()
        locks = self.artifacts / "locks"
        locks.mkdir(exist_ok=True)
        return FileLock(locks / digest(name))

    def need(self, name: str) -> Path:
        """The folder of a stage made by an earlier notebook; raises MissingInput naming it."""
        self.outputs(name)
        return self.artifacts / name

    def settings(self, stage: str) -> dict:
        """The sections of the profile that a stage depends on, as plain values."""
        return self.profile.model_dump(mode="json", include=set(STAGES[stage][1]))

    def save_table(self, frame: pd.DataFrame, name: str) -> pd.DataFrame:
        """Write tables/<name>.csv (tidy, no index, floats to 6 digits) and return the frame."""
        path = self.folder / "tables" / f"{name}.csv"
        atomic_write(
            path, lambda temporary: frame.to_csv(temporary, index=False, float_format="%.6g")
        )
        return frame

    def save_figure(self, figure: Figure, name: str) -> Image:
        """Write figures/<name>.png and .svg, the same on every run; return the PNG, to be shown.

        It has two pixels for each that it takes on a page: 100 of the page are an inch.
        """
        for suffix, metadata in {"png": {"Software": None}, "svg": {"Date": None}}.items():
            path = self.folder / "figures" / f"{name}.{suffix}"
            save = partial(figure.savefig, format=suffix, dpi=200, metadata=metadata)
            with matplotlib.rc_context({"svg.hashsalt": "editlib"}):
                atomic_write(path, save)
        return Image(filename=self.folder / "figures" / f"{name}.png", retina=True)

    def outputs(self, name: str) -> dict[str, str]:
        """Each file of a stage with its hash; raises MissingInput if absent, damaged or stale."""
        folder, record = self.artifacts / name, _read_seal(self.artifacts / name)
        maker = STAGES[name][0]
        again = f"Run notebook {maker}.ipynb, which makes it ({self.command(maker)})"
        if record is None:
            lacks = "has no readable stage.json" if folder.exists() else "is missing"
            raise MissingInput(f"{folder} {lacks}. {again}")
        if record.params != self.settings(name):
            raise MissingInput(f"{folder} was made with other settings than those of now. {again}")
        damaged = [f for f, expected in record.files.items() if _hash(folder / f) != expected]
        if damaged:
            raise MissingInput(f"{folder / damaged[0]} is missing, cut short or edited. {again}")
        return record.files

    def command(self, maker: str | None = None) -> str:
        """What to type to bring this workspace up to date, all of it or as far as a notebook."""
        said = f"make reproduce {self.options or f'PROFILE={self.name}'}"
        if maker is None:
            return said
        names = self.profile.notebooks
        needed = names[: names.index(maker) + 1] if maker in names else [maker]
        return f'{said} ONLY="{" ".join(name[:2] for name in needed)}"'

    def _intact(self, folder: Path, fingerprint: str) -> bool:
        record = _read_seal(folder)
        return (
            record is not None
            and record.fingerprint == fingerprint
            and all(_hash(folder / f) == expected for f, expected in record.files.items())
        )


def open_workspace(
    profile: str = "", overrides: Sequence[str] = (), results: str | Path | None = None
) -> Workspace:
    """Load a profile with overrides; results is where to write (None: the kit's results folder).

    No profile: what `make lab` was told (the variables in LAB), or else mini.
    """
    if not profile:
        told, settings, folder = (os.environ.get(variable, "") for variable in LAB)
        profile, overrides = told or "mini", [*settings.splitlines(), *overrides]
        results = results or folder
    settings = profiles.load(profile, overrides)
    name, root = Path(profile).stem, (Path(results) if results else RESULTS).resolve()
    return Workspace(name, settings, root / name, _options(profile, overrides, root))


def _options(profile: str, overrides: Sequence[str], root: Path) -> str:
    """What make is told, from whatever folder, to open this workspace; quoted as both need it."""
    told = {
        "PROFILE": Path(profile).resolve() if profile.endswith((".yaml", ".yml")) else profile,
        "RESULTS": "" if root == RESULTS else root,
        "SET": " ".join(overrides),
    }
    return " ".join(
        f"{name}={shlex.quote(str(value)).replace('$', '$$')}"
        for name, value in told.items()
        if value
    )


class Seal(BaseModel):
    """What stage.json says of a stage."""

    fingerprint: str
    params: dict[str, Any]
    seconds: float
    files: dict[str, str]  # path in the folder -> its hash


def _build(folder: Path, make: Callable[[Path], None], fingerprint: str, params: dict) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        started = time.time()
        make(temporary)
        _seal(temporary, fingerprint, params, time.time() - started)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _seal(folder: Path, fingerprint: str, params: dict, seconds: float) -> None:
    files = {str(p.relative_to(folder)): _hash(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    seal = Seal(fingerprint=fingerprint, params=params, seconds=round(seconds, 2), files=files)
    text = seal.model_dump_json(indent=1)
    atomic_write(
        folder / "stage.json", lambda temporary: temporary.write_text(text, encoding="utf-8")
    )


def _read_seal(folder: Path) -> Seal | None:
    try:
        return Seal.model_validate_json((folder / "stage.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _hash(path: Path) -> str | None:
    return digest(path) if path.exists() else None
