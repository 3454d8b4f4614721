import pytest
import yaml

from editlib import profiles
from editlib.profiles import BadProfile, load
from editlib.workspace import open_workspace


def written(name):
    """A profile as it stands in its file."""
    return yaml.safe_load((profiles.HERE / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", profiles.names())
def test_every_profile_of_the_kit_is_valid(name):
    assert load(name).notebooks


@pytest.mark.parametrize("name", ["modern", "paper"])
def test_profiles_at_scale_ask_an_endpoint_and_look_out_of_domain(name):
    profile = load(name)
    assert profile.teacher.kind == "endpoint" and profile.teacher.budget
    assert profile.benchmark.out_of_domain == ["bb_sub", "agieval", "arc_e", "arc_c"]
    assert profile.student.max_length == 1024 and profile.training.checkpoint == "validation"


def test_the_overview_names_what_each_profile_is_made_of():
    rows = {row["profile"]: row for row in profiles.overview()}
    assert list(rows) == profiles.names()
    assert rows["recorded"]["student"] == "none" and rows["recorded"]["seeds"] == 0
    assert rows["recorded"]["notebooks"] == "00, 01, 02, 03, 06"
    assert rows["mini"]["teacher"] == "puzzle" and rows["paper"]["benchmark"] == "bbh"


def test_the_paper_profile_holds_the_paper_numbers():
    values = written("paper")
    teacher, student, training = values["teacher"], values["student"], values["training"]
    assert (teacher["temperature"], teacher["top_p"], teacher["max_tokens"]) == (0.2, 1.0, 2048)
    targets = {"rank": 64, "alpha": 32, "dropout": 0.05, "targets": ["q_proj", "v_proj"]}
    assert student["base"] == "meta-llama/Llama-2-7b-hf" and student["lora"] == targets
    assert (training["sft"]["lr"], training["sft"]["lr_decay"]) == (2e-4, 0.95)
    assert (training["krsl"]["lr"], training["krsl"]["alpha"]) == (5e-6, 1.0)
    assert training["krsl"]["beta"] == 0.025 and values["decoding"]["max_new_tokens"] == 1024
    assert all(16 * training[phase]["accumulation"] == 16 * 4 * 4 for phase in ("sft", "krsl"))


def test_a_value_is_overridden_by_its_dotted_name():
    profile = load("mini", ["training.krsl.lr=1e-4", "training.seeds=[7, 8]"])
    assert profile.training.krsl.lr == 1e-4
    assert profile.training.seeds == [7, 8]
    assert load("mini").training.seeds == [0, 1, 2]


@pytest.mark.parametrize("name", ["mini", "paper"])
def test_lora_may_be_left_out_by_saying_so(name):
    assert load(name).student.lora
    assert load(name, ["student.lora=null"]).student.lora is None


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("minni", [], "unknown profile 'minni'; valid, nearest first: mini"),
        ("mini", ["training.krsl.lrr=1"], "unknown setting 'lrr'; valid, nearest first: lr"),
        ("mini", ["trainnig.krsl.lr=1"], "unknown setting 'trainnig'; .* training"),
        ("mini", ["training.krsl.lr"], "expected dotted.name=value"),
        ("mini", ["training.krsl.lr=fast"], r"training.krsl.lr: .*number.*found 'fast'"),
        ("mini", ["training.krsl.lr=-1"], "training.krsl.lr: .*greater than 0"),
        ("mini", ["training.krsl.lr=.nan"], "training.krsl.lr: .*finite number .found nan"),
        ("mini", ["training.seeds=[1, 2"], "not valid YAML"),
        ("mini", ["training.seeds=[1, 2, 1]"], "training.seeds: .*1 is named more than once"),
        ("mini", ["training.methods=[EDIT, EDIT]"], "'EDIT' is named more than once"),
        ("mini", ["training.seeds=[]"], "training.seeds: .*at least 1 item"),
        (
            "mini",
            ["training.checkpoint=last", "training.follow_test=true"],
            "follow_test needs checkpoint validation, found last",
        ),
        ("mini", ["exam.self_consistency=[SBS]"], "SBS is not in training.methods"),
        ("mini", ["exam.seeds=[0, 7]"], "exam.seeds: 7 is not in training.seeds"),
        ("mini", ["exam.untrained=[one-shot]"], "'one-shot'"),
        ("mini", ["training.checkpoint=best"], "checkpoint: .*'validation', 'last' or 'paper'"),
        ("mini", ["benchmark.name=bbh"], "teacher.kind puzzle answers benchmark.name puzzles"),
        ("recorded", ["keysteps.unit=tokens"], "tokens needs a student"),
        ("mini", ["keysteps.unit=words"], "keysteps.unit words cannot be trained on"),
        ("mini", ["training.seeds=[0, -1]"], r"seeds.1: .*greater than or equal to 0 .found -1"),
        ("mini", ["training.seeds=[4294967296]"], "seeds.0: .*less than 4294967296"),
        ("mini", ["teacher.seed=-1"], "seed: .*greater than or equal to 0"),
        (
            "mini",
            ["student.lora.targets=[foo_proj]"],
            r"lora.targets: unknown layer of bundled 'foo_proj'; valid, .*q_proj",
        ),
        ("mini", ["student.lora.targets=[]"], "targets: .*at least 1 item"),
        ("mini", ["student={base: tiny, max_length: 9}"], "student.lora: Field required"),
        (
            "mini",
            ["student.lora=null", "student.lora.rank=8"],
            "'student.lora.rank': nothing is set there that holds 'rank'; set it whole",
        ),
        ("mini", ["training.methods=[EDlT]"], "unknown method 'EDlT'; valid, nearest first: EDIT"),
        ("mini", ["training.methods=[EDIT on OM]"], "unknown method 'EDIT on OM'; valid"),
        ("mini", ["exam.self_consistency=[EDIT on OM]"], "unknown method 'EDIT on OM'"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_valid(name, overrides, message):
    with pytest.raises(BadProfile, match=message):
        load(name, overrides)


@pytest.mark.parametrize("name", ["full", "kinds", "mechanism"])
def test_what_larger_profiles_do_not_change_is_as_in_mini(name):
    mini, other = load("mini"), load(name)
    for section in ("benchmark", "teacher", "keysteps", "student", "decoding"):
        assert getattr(mini, section) == getattr(other, section)
    longer = {"epochs": mini.training.sft.epochs} if name == "full" else {}
    assert mini.training.sft == other.training.sft.model_copy(update=longer)
    rate = {} if name == "full" else {"lr": mini.training.krsl.lr}  # the others say why
    assert mini.training.krsl == other.training.krsl.model_copy(update=rate)
    assert set(mini.training.seeds) < set(other.training.seeds)


def test_a_gpu_runs_the_methods_of_full_with_a_larger_student_and_more_seeds():
    full, gpu = load("full"), load("full-gpu")
    assert list(full.training.students) == list(gpu.training.students)
    assert set(full.training.seeds) < set(gpu.training.seeds)
    for section in ("notebooks", "benchmark", "teacher", "keysteps", "exam"):
        assert getattr(full, section) == getattr(gpu, section)
    assert gpu.student.base == "wide" and full.student.lora == gpu.student.lora


def test_a_gpu_searches_the_rates_of_all_first_phases_alike():
    gpu = load("full-gpu").training
    assert gpu.sft.also_try and not gpu.lr_of


def test_more_seeds_are_of_students_trained_as_in_full():
    full, seeds = load("full"), load("seeds")
    for section in ("notebooks", "benchmark", "teacher", "keysteps"):
        assert getattr(full, section) == getattr(seeds, section)
    assert full.student == seeds.student.model_copy(update={"dtype": full.student.dtype})
    assert {*seeds.training.methods} < {*full.training.methods}
    assert {*full.training.seeds} < {*seeds.training.seeds}
    for section in ("sft", "krsl"):
        one, other = (getattr(p.training, section) for p in (full, seeds))
        assert one.batch * one.accumulation == other.batch * other.accumulation
        alike = {"batch": other.batch, "accumulation": other.accumulation}
        assert one.model_copy(update=alike) == other


def test_ablations_are_methods_with_fewer_seeds():
    more = "training.ablations={seeds: [5], methods: ['EDIT, words', EDIT]}"
    students = load("mini", [more]).training.students
    assert students["EDIT"] == [0, 1, 2] and students["EDIT, words"] == [5]
    assert list(students)[-1] == "EDIT, words"


def test_a_file_of_the_users_own_is_a_profile(tmp_path):
    text = (profiles.HERE / "smoke.yaml").read_text().replace("seed: 0", "seed: 5")
    (tmp_path / "mine.yaml").write_text(text)
    assert load(str(tmp_path / "mine.yaml")).teacher.seed == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notebooks: [", "mine.yaml, line 1, column 13: not valid YAML: .* flow node"),
        ("a: 1\nb: {c: 2", "mine.yaml, line 2, column 9: not valid YAML"),
        ("a: \x07", "mine.yaml: not valid YAML: unacceptable character"),
        ("a: 1\nb:\n  c: 2\n  c: 3", "mine.yaml, line 4, column 3: .*'c' .*second time"),
        ("- a list", "mine.yaml: expected settings by name, found list"),
        ("", "mine.yaml: expected settings by name, found NoneType"),
        ("notebooks: []\nspeed: 9", "speed: Extra inputs are not permitted"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(BadProfile, match=message) as error:
        load(str(tmp_path / "mine.yaml"))
    assert "\n" not in str(error.value)


ENDPOINT = """
notebooks: []
benchmark: {name: puzzles, questions: {train: 2, validation: 1, test: 1, longer: 1, families: 1}}
teacher: {kind: endpoint, model: m, base_url: "http://127.0.0.1/v1", CHANGES}
keysteps: {unit: words, ties: library}
"""


def endpoint(tmp_path, changes):
    path = tmp_path / "mine.yaml"
    path.write_text(ENDPOINT.replace("CHANGES", changes))
    return open_workspace(str(path), [], tmp_path).settings("annotation")


def test_where_how_fast_and_at_what_price_a_teacher_is_asked_makes_no_stage_stale(tmp_path):
    plain = endpoint(tmp_path, "")
    assert plain == endpoint(tmp_path, "prices: {prompt: 1, completion: 2}, budget: 9, retries: 1")
    assert plain == endpoint(tmp_path, "concurrency: 99, timeout: 9, key_variable: OTHER")
    assert "127.0.0.1" not in str(plain)
    assert plain != endpoint(tmp_path, "max_tokens: 9") != endpoint(tmp_path, "attempts: 2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("budget: 5", "budget needs prices"),
        ("budget: .inf, prices: {prompt: 1, completion: 2}", "budget: .*finite number"),
        ("temperature: 1.6", r"highest_temperature 1\.5 is below temperature 1\.6"),
        ("top_p: 0", "top_p: .*greater than 0"),
        ("api_key: sk-planted", "api_key: Extra inputs"),
    ],
)
def test_settings_of_an_endpoint_are_checked(tmp_path, changes, message):
    with pytest.raises(BadProfile, match=message) as refused:
        endpoint(tmp_path, changes)
    assert "sk-planted" not in str(refused.value)


def test_a_file_of_completions_may_answer_any_benchmark(tmp_path):
    path, mine = tmp_path / "run.jsonl", tmp_path / "mine.yaml"
    text = ENDPOINT.replace("endpoint, model: m, base_url", "recorded, completions")
    mine.write_text(text.replace("http://127.0.0.1/v1", str(path)).replace(", CHANGES", ""))
    with pytest.raises(BadProfile, match=r"completions: Path does not point to a file \(found"):
        load(str(mine))
    path.touch()
    assert load(str(mine)).teacher.completions == path


def test_a_setting_that_the_file_leaves_to_its_default_can_be_changed():
    assert load("paper", ["teacher.batch_again=true"]).teacher.batch_again
    with pytest.raises(BadProfile, match=r"unknown setting 'batch_agian'.*batch_again"):
        load("paper", ["teacher.batch_agian=true"])


def test_a_profile_that_is_no_text_is_named(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadProfile, match=r"mine\.yaml cannot be read as UTF-8"):
        load(str(tmp_path / "mine.yaml"))


def test_a_setting_below_nothing_is_to_be_set_whole():
    with pytest.raises(BadProfile, match=r"teacher\.seed\.x.*set it whole"):
        load("mini", ["teacher.seed.x=1"])


def test_a_path_leads_from_where_the_profile_lies(tmp_path, monkeypatch):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "notebooks: []\nbenchmark: {name: bbh, exemplars: {kind: published, folder: shots}}\n"
        "teacher: {kind: recorded, completions: run.jsonl}\nkeysteps: {unit: words, ties: library}"
    )
    (tmp_path / "run.jsonl").touch()
    monkeypatch.chdir("/")
    profile = load(str(mine))
    assert profile.benchmark.exemplars.folder == tmp_path / "shots"
    assert profile.teacher.completions == tmp_path / "run.jsonl"
    assert load("paper").benchmark.exemplars.folder == profiles.HERE.parent.parent / "prompts"
