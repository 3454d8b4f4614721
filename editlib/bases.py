"""What a student starts from, as far as no model is needed: files, tokenizer, context.

Apart from students, which imports what models take: notebooks that train nothing start sooner.
"""

from pathlib import Path

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from editlib.errors import KitError
from editlib.profiles import Student

BUNDLED = Path(__file__).parent / "base_student"
WIDE = Path(__file__).parent.parent / "build" / "wide-student"  # of `make wide-student`
TINY_CONTEXT = 512  # tokens


def source(student: Student) -> Path | str:
    """Where the tokenizer and the config of a student's base lie: a folder, or a model id.

    Raises KitError where that is the wide student and nobody has trained it.
    """
    if student.base == "wide" and not WIDE.is_dir():
        raise KitError(f"student.base=wide: there is no {WIDE}. Train it: make wide-student")
    own = {"bundled": BUNDLED, "tiny": BUNDLED, "wide": WIDE}
    return own.get(student.base, student.base)


def load_tokenizer(student: Student) -> PreTrainedTokenizerBase:
    """The tokenizer of a student's base model, with a padding token."""
    tokenizer = AutoTokenizer.from_pretrained(source(student))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def base_files(student: Student) -> tuple[Path, ...]:
    """The folder of the base model, where it is one on this machine: what a stage depends on."""
    folder = Path(source(student))
    return (folder,) if folder.is_dir() else ()


def context(student: Student) -> int:
    """How many tokens the base model can see at once, as its config says."""
    if student.base == "tiny":
        return TINY_CONTEXT
    return AutoConfig.from_pretrained(source(student)).get_text_config().max_position_embeddings
