"""The numbers the paper reports, as tidy tables; accuracies lie between 0 and 1.

The student is LLaMA2-7B. A method that this kit has too bears its name in methods.py.
"""

import pandas as pd

from editlib.methods import WEIGHTS as NAMES
from editlib.profiles import Profile

IN_DOMAIN = ("BBH",)
OUT_OF_DOMAIN = ("BB-sub", "AGIEval", "ARC-E", "ARC-C")
BENCHMARKS = (*IN_DOMAIN, *OUT_OF_DOMAIN)
AVERAGE = "average"  # over the five benchmarks, as printed
KEY_SHARE = 0.047  # of the tokens of the authors' dual CoTs
PAIRS = {"D+dual": 3_805, "D-dual": 1_402, "Ddual": 5_207}


def _accuracies(column: str, text: str) -> pd.DataFrame:
    """Lines of name | percentages (by benchmark, then their average) as one row a number."""
    rows = []
    for line in text.strip().splitlines():
        name, _, numbers = (part.strip() for part in line.partition("|"))
        values = zip((*BENCHMARKS, AVERAGE), numbers.split(), strict=False)
        rows += [(name, benchmark, float(value) / 100) for benchmark, value in values]
    return pd.DataFrame(rows, columns=[column, "benchmark", "accuracy"])


def _by_method(column: str, methods: tuple[str, ...], text: str) -> pd.DataFrame:
    """Lines of name | percentages (by method) as one row a number."""
    rows = []
    for line in text.strip().splitlines():
        name, _, numbers = (part.strip() for part in line.partition("|"))
        values = zip(methods, numbers.split(), strict=True)
        rows += [(name, method, float(value) / 100) for method, value in values]
    return pd.DataFrame(rows, columns=[column, "method", "accuracy"])


# Main results. "EDIT w/o RWC" of this kit trains KRSL on D+dual.
TABLE_1 = _accuracies(
    "method",
    """
    teacher, zero-shot-CoT     | 42.7 44.1 49.5 91.9 81.1 61.9
    teacher, few-shot-CoT      | 73.1
    student, zero-shot         | 14.8 15.5  6.9 18.2 13.9 13.9
    student, few-shot          | 15.1 28.5 25.5 25.5 25.4 24.0
    student, zero-shot-CoT     | 10.6  7.7  7.1 18.4 14.8 11.7
    student, few-shot-CoT      | 16.3 25.3  9.9 17.2 17.2 17.2
    MT-CoT                     | 56.8 30.3 22.0 49.4 38.2 39.3
    SCOTT                      | 42.4 18.8 13.0 45.7 34.1 30.8
    Std-CoT                    | 54.2 28.7 21.6 59.6 45.1 41.8
    SBS                        | 42.4 27.7 28.8 68.5 48.6 43.2
    SBS-MI                     | 42.9 24.3 29.2 68.4 49.3 42.8
    EDIT w/o RWC               | 55.1 30.1 24.1 60.3 44.1 42.7
    EDIT w/o RWC, KRSL on Ddual| 55.4 30.1 24.2 63.6 48.3 44.3
    EDIT w/o KRSL              | 59.7 30.0 24.5 61.9 45.5 44.3
    EDIT                       | 60.9 31.1 25.9 64.1 50.5 46.5
    """,
)

# What KRSL learns from.
TABLE_2 = _accuracies(
    "method",
    """
    EDIT, KRSL on D+dual | 61.3 31.2 24.4 64.6 48.9 46.1
    EDIT, KRSL on D-dual | 60.9 30.8 26.0 63.8 50.5 46.4
    EDIT                 | 60.9 31.1 25.9 64.1 50.5 46.5
    """,
)

# Subtasks: BBH, then BB-sub, then AGIEval and two sets of mathematics outside the benchmarks.
TABLE_3 = _by_method(
    "task",
    ("MT-CoT", "SCOTT", "Std-CoT", "Std-CoT, repeat sampling", "Std-CoT, dual CoTs", "EDIT"),
    """
    Date Understanding     | 74   54   82   76   74   80
    Temporal Sequences     | 94   66   94   98   86   98
    Multi-Step Arithmetic  |  6    0    8   14   18   18
    Sports Understanding   | 90   74   90   86   86   90
    Elementary Math QA     | 10   13   11   14   17   20
    Identify Math Theorems |  9.4  9.4 20.8 18.9 24.5 26.4
    StrategyQA             | 50   31   57   50   49   59
    AQuA                   | 15.4 14.6 17.3 23.2 22.8 24.4
    SAT-Math               | 15.5 21.4 20.9 23.6 20.0 24.5
    GSM8K                  | 15.3 17.1 15.4 10.9 14.7 17.5
    MATH                   |  4.3  4.1  5.1  5.0  5.0  5.6
    average                | 34.9 27.7 38.3 38.1 38.8 42.1
    """,
)

# The weights of key tokens; accuracy is the average over the benchmarks.
TABLE_4 = pd.DataFrame(
    [(0, 0, 0.4432), (0, 0.025, 0.4426), (1, 0, 0.4496), (1, 0.025, 0.4650), (1, 0.05, 0.4436)],
    columns=["alpha", "beta", "accuracy"],
)

# As many rows of training data for all (10,414).
TABLE_5 = _accuracies(
    "method",
    """
    Std-CoT, repeat sampling | 59.4 30.3 24.0 58.0 42.1 42.8
    Std-CoT, dual CoTs       | 54.8 32.9 25.1 62.2 44.1 43.8
    EDIT                     | 60.9 31.1 25.9 64.1 50.5 46.5
    """,
)

# Pairs by the kinds of mistake in their wrong CoT, as an LLM judged them: LE logical,
# KE knowledge, MCE calculation, OE other.
TABLE_6 = pd.DataFrame(
    {
        "kinds": ["LE", "KE", "MCE", "OE", "LE+KE", "LE+MCE", "KE+MCE", "LE+KE+MCE"],
        "D+dual": [2618, 452, 356, 51, 255, 45, 26, 2],
        "D-dual": [1077, 77, 56, 62, 105, 22, 3, 0],
    }
).melt(id_vars="kinds", var_name="subset", value_name="n")[["subset", "kinds", "n"]]

# KRSL on 412 pairs of one kind each; accuracy is the average over the benchmarks.
TABLE_7 = pd.DataFrame(
    [("LE", 412, 0.449), ("KE", 412, 0.446), ("MCE", 412, 0.445)],
    columns=["kind", "pairs", "accuracy"],
)

# The answer most of 8 samples give (temperature 0.7, top-p 0.95); average over the benchmarks.
TABLE_8 = pd.DataFrame(
    [
        ("MT-CoT", 0.464),
        ("SCOTT", 0.355),
        ("Std-CoT", 0.458),
        ("Std-CoT, repeat sampling", 0.459),
        ("Std-CoT, dual CoTs", 0.463),
        ("EDIT", 0.491),
    ],
    columns=["method", "accuracy"],
)

# Another second phase on the same pairs.
TABLE_9 = _accuracies(
    "method",
    """
    DPO  | 10.2 15.4  4.8  5.1  4.9  8.1
    EDIT | 60.9 31.1 25.9 64.1 50.5 46.5
    """,
)

# Settings by their name in a profile.
SETTINGS = pd.DataFrame(
    [
        ("teacher.temperature", "0.2, higher on each retry", "A.9.1, published code"),
        ("student.base", "LLaMA2-7B", "main results"),
        ("student.max_length", "1024", "Table 16"),
        ("student.lora.rank", "64", "Table 16"),
        ("student.lora.alpha", "32", "Table 16"),
        ("student.lora.dropout", "0.05", "Table 16"),
        ("student.lora.targets", "q_proj, v_proj", "Table 16"),
        ("training.seeds", "one run", "main results"),
        ("training.checkpoint", "best epoch on BBH-test", "published code"),
        ("training.sft.lr", "0.0002", "A.9.2"),
        ("training.sft.lr_decay", "0.95", "A.9.2"),
        ("training.sft.epochs", "10 or 15", "Table 16 or the text"),
        ("training.sft.batch", "16 on each of 4 GPUs", "Table 16"),
        ("training.sft.accumulation", "4", "Table 16"),
        ("training.krsl.lr", "5e-06", "A.9.2"),
        ("training.krsl.epochs", "10", "published code"),
        ("training.krsl.alpha", "1.0", "Table 4"),
        ("training.krsl.beta", "0.025", "Table 4"),
        ("training.krsl.per", "response", "published code"),
        ("training.krsl.ceiling", "20", "published code"),
        ("decoding.max_new_tokens", "1024", "A.9"),
    ],
    columns=["setting", "paper", "source"],
)


def settings(profile: Profile) -> pd.DataFrame:
    """SETTINGS beside those of a profile: setting, here, paper, source.

    here: "not set" where the profile has no such setting, as those of LoRA in full fine-tuning.
    """
    table = SETTINGS.copy()
    table.insert(1, "here", [_own(profile, name.split(".")) for name in table["setting"]])
    return table


def _own(value, names: list[str]) -> str:
    for name in names:
        value = getattr(value, name)
        if value is None:
            return "not set"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


# --- by the names of this kit ------------------------------------------------------------------

DOMAINS = {"in domain": IN_DOMAIN, "out of domain": OUT_OF_DOMAIN, "all": (AVERAGE,)}
WEIGHTS = list(TABLE_4[["alpha", "beta"]].itertuples(index=False, name=None))  # (alpha, beta)
BEST = (1, 0.025)
TASKS = {  # subtasks of Table 3 that have a family of puzzles of their name
    "Date Understanding": "date_understanding",
    "Temporal Sequences": "temporal_sequences",
    "Multi-Step Arithmetic": "multistep_arithmetic",
}
ONE_SIDE = ((1, 0), (0, 0.025))  # Figure 6


def voted(method: str) -> str:
    """The name of a method whose students answer by vote (self-consistency)."""
    return f"{method}, self-consistency"


def _reported() -> pd.DataFrame:
    averages = pd.concat(
        [
            TABLE_4.assign(method=[NAMES[pair] for pair in WEIGHTS])[["method", "accuracy"]],
            TABLE_8.assign(method=TABLE_8["method"].map(voted)),
        ]
    ).assign(benchmark=AVERAGE)
    tables = [TABLE_1, TABLE_2, TABLE_5, averages, TABLE_9]
    return pd.concat(tables).drop_duplicates(["method", "benchmark"], ignore_index=True)


REPORTED = _reported()  # every method of the paper: method, benchmark, accuracy


def level(method: str, benchmarks: tuple[str, ...]) -> float:
    """Accuracy of a method (0 to 1), mean over benchmarks; nan where one of them is missing."""
    own = REPORTED[REPORTED["method"] == method].set_index("benchmark")["accuracy"]
    return own.reindex(list(benchmarks)).mean(skipna=False)


def difference(method: str, baseline: str, benchmarks: tuple[str, ...]) -> float:
    """Accuracy of a method less that of another, mean over benchmarks (-1 to 1).

    nan where the paper has no such method.
    """
    return level(method, benchmarks) - level(baseline, benchmarks)
