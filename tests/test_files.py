"""Files that are replaced at once, and settings that later runs must share."""

import json

import pytest

from mulap_hf.errors import RunError
from mulap_hf.files import replacing, write_json
from mulap_hf.settings import check_settings


def test_a_file_is_replaced_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_lies_in_the_scratch_folder(tmp_path):
    (tmp_path / "scratch").mkdir()
    with replacing(tmp_path / "a.txt", tmp_path / "scratch") as temporary:
        assert temporary.parent == tmp_path / "scratch"
        temporary.touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "scratch"]


def test_same_settings_pass_also_as_json_gives_them_back(tmp_path):
    settings = {"sizes": (1, 2), "seed": 0}
    write_json(tmp_path / "settings.json", settings)
    found = json.loads((tmp_path / "settings.json").read_text())
    check_settings(found, settings, "it was made", "choose another folder")


def test_other_settings_are_all_named():
    found, wanted = {"seed": 0, "rate": 16000, "name": "a"}, {"seed": 1, "name": "a", "length": 2.0}
    with pytest.raises(RunError) as error:
        check_settings(found, wanted, "x holds a corpus", "choose another folder", RunError)
    changes = "length (None, now 2.0), rate (16000, now None), seed (0, now 1)"
    assert error.value.args == (f"x holds a corpus with other settings: {changes}; choose another folder",)
