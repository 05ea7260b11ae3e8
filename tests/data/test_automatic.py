"""Labeled audio as it lies on disk, given to a script: prepared on the way, once, and anew when it has changed."""

import pytest
from layouts import write_audio, write_lines

from mulap_hf.data.automatic import prepare_labeled
from mulap_hf.errors import DataError
from mulap_hf.transfer.arguments import TransferArguments
from mulap_hf.transfer.tasks import open_task


@pytest.fixture
def classes(tmp_path):
    for number in range(10):
        write_audio(tmp_path / "my notes" / "cello" / f"{number}.wav", number)
        write_audio(tmp_path / "my notes" / "flute" / f"{number}.wav", 10 + number)
    return tmp_path / "my notes"


def test_prepared_once_and_anew_when_it_has_changed(classes, tmp_path, capsys):
    folder = prepare_labeled(classes, tmp_path / "kept")
    assert folder.parent == tmp_path / "kept" and folder.name.startswith("my-notes-")
    printed = capsys.readouterr().out
    assert f"Prepared {classes} in {folder}\ntrain: 16 items in 1 shard\n" in printed
    assert prepare_labeled(classes, tmp_path / "kept") == folder
    assert capsys.readouterr().out == ""
    write_audio(classes / "flute" / "new.wav", 30)
    (classes / "cello" / "broken.wav").write_bytes(b"no audio")
    changed = prepare_labeled(classes, tmp_path / "kept")
    assert changed != folder
    assert "1 x broken audio, for example cello/broken.wav" in capsys.readouterr().out


def test_tables_with_labels_are_taken_too(classes, tmp_path):
    names = [f"{folder}/{number}.wav" for folder in ("cello", "flute") for number in range(10)]
    rows = [f"{name};{'low' if name < 'd' else 'high'}" for name in names]
    write_lines(classes / "my.csv", ["file;Class", *rows])
    data = open_task(prepare_labeled(classes / "my.csv", tmp_path / "kept"))
    assert data.task.name == "Class" and data.task.classes == ("high", "low")


def test_what_is_prepared_is_taken_as_it_is(classes, tmp_path):
    folder = prepare_labeled(classes, tmp_path / "kept")
    assert prepare_labeled(folder, tmp_path / "kept") == folder
    assert prepare_labeled(tmp_path / "nowhere", tmp_path / "kept") == tmp_path / "nowhere"  # which is refused later


def test_options_of_transfer_open_it(classes, tmp_path):
    data = TransferArguments(data=str(classes), corpus_dir=str(tmp_path / "kept")).open_task()
    assert data.splits() == ["train", "validation", "test"]
    assert [len(data.ids(split)) for split in data.splits()] == [16, 2, 2]
    with pytest.raises(DataError, match="its 10 audio files do not lie in folders named after classes"):
        TransferArguments(data=str(classes / "cello"), corpus_dir=str(tmp_path / "kept")).open_task()
