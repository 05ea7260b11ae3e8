"""Tasks of prepared datasets."""

import numpy as np
import pytest
from layouts import write_lines

from mulap_hf.data.corpora.synthetic import NOTE_TASK, SYNTHETIC_TASKS
from mulap_hf.data.schema import Task, read_tasks, write_tasks
from mulap_hf.errors import DataError
from mulap_hf.synthetic import TAGS, CorpusConfig, make_clip, make_note


def test_tasks_survive_their_file(tmp_path):
    tasks = (*SYNTHETIC_TASKS, Task("emotion", "regression", ("a", "b"), seconds=30.0, description="\u00e9"))
    write_tasks(tmp_path, tasks)
    assert read_tasks(tmp_path) == tasks


@pytest.mark.parametrize(
    "content", ['[{"name": "x"}]', '{"a": 1}', '[{"name": "x", "kind": "ranking", "columns": ["a"]}]']
)
def test_other_files_are_no_tasks(tmp_path, content):
    write_lines(tmp_path / "tasks.json", [content])
    with pytest.raises(DataError, match=r"tasks\.json"):
        read_tasks(tmp_path)


def test_targets():
    tags = Task("tagging", "multi_label", ("tags",), ("a", "b", "c"))
    assert tags.target({"tags": ["c", "a", "unknown"]}).tolist() == [1, 0, 1]
    assert tags.target({"tags": []}).tolist() == [0, 0, 0]
    genre = Task("genre", "single_label", ("genre",), ("rock", "pop"))
    assert genre.target({"genre": "pop"}) == 1
    with pytest.raises(ValueError, match="'polka'"):
        genre.target({"genre": "polka"})
    emotion = Task("emotion", "regression", ("arousal", "valence"))
    np.testing.assert_allclose(emotion.target({"valence": -0.5, "arousal": 2}), [2, -0.5])
    assert [task.num_outputs for task in (tags, genre, emotion)] == [3, 2, 2]


@pytest.mark.parametrize(
    "arguments",
    [
        ("x", "multi_label", ("a", "b"), ("c", "d")),
        ("x", "single_label", ("a",), ("c",)),
        ("x", "single_label", ("a",), ("c", "c")),
        ("x", "regression", ("a",), ("c", "d")),
        ("x", "regression", ()),
    ],
)
def test_impossible_tasks(arguments):
    with pytest.raises(ValueError, match="task 'x'"):
        Task(*arguments)


def test_synthetic_tasks_fit_the_clips_that_are_generated():
    clip = make_clip(CorpusConfig(clip_seconds=1.0), "train", 0)
    targets = {task.name: task.target(clip) for task in SYNTHETIC_TASKS}
    assert targets["tagging"].sum() == len(clip["tags"])
    assert {name: target.size for name, target in targets.items()} == {
        "tagging": len(TAGS),
        "style": 1,
        "emotion": 2,
        "key": 1,
    }


def test_the_task_of_single_notes_fits_them():
    note = make_note(CorpusConfig(), "train", 3)
    assert NOTE_TASK.classes[NOTE_TASK.target(note)] == note["family"]
