import pytest

from editlib import profiles
from editlib.profiles import BadProfile, load


@pytest.mark.parametrize("name", profiles.names())
def test_every_profile_of_the_kit_is_valid(name):
    assert load(name).notebooks


def test_a_value_is_overridden_by_its_dotted_name():
    profile = load("mini", ["training.krsl.lr=1e-4", "training.seeds=[7, 8]"])
    assert profile.training.krsl.lr == 1e-4
    assert profile.training.seeds == [7, 8]
    assert load("mini").training.seeds == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("minni", [], "unknown profile 'minni'; valid, nearest first: mini"),
        ("mini", ["training.krsl.lrr=1"], "unknown setting 'lrr'; valid, nearest first: lr"),
        ("mini", ["trainnig.krsl.lr=1"], "unknown setting 'trainnig'; .* training"),
        ("mini", ["training.krsl.lr"], "expected dotted.name=value"),
        ("mini", ["training.krsl.lr=fast"], r"training.krsl.lr: .*number.*found 'fast'"),
        ("mini", ["training.krsl.lr=-1"], "training.krsl.lr: .*greater than 0"),
        ("mini", ["training.seeds=[1, 2"], "not valid YAML"),
        ("mini", ["training.checkpoint=paper"], "training.checkpoint: .*'validation' or 'last'"),
        ("mini", ["benchmark.name=bbh"], "teacher.kind puzzle answers benchmark.name puzzles"),
        ("recorded", ["keysteps.unit=tokens"], "tokens needs a student"),
        ("mini", ["training.methods=[EDlT]"], "unknown method 'EDlT'; valid, nearest first: EDIT"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_valid(name, overrides, message):
    with pytest.raises(BadProfile, match=message):
        load(name, overrides)


def test_a_file_of_the_users_own_is_a_profile(tmp_path):
    text = (profiles.HERE / "smoke.yaml").read_text().replace("seed: 0", "seed: 5")
    (tmp_path / "mine.yaml").write_text(text)
    assert load(str(tmp_path / "mine.yaml")).teacher.seed == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notebooks: [", "mine.yaml is not valid YAML"),
        ("- a list", "mine.yaml: expected settings by name, found list"),
        ("", "mine.yaml: expected settings by name, found NoneType"),
        ("notebooks: []\nspeed: 9", "speed: Extra inputs are not permitted"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(BadProfile, match=message):
        load(str(tmp_path / "mine.yaml"))
