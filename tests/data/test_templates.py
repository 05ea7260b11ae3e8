"""Captions that are composed of columns: what is missing is left out with what belongs to it."""

import pytest

from mulap_hf.data.templates import Template
from mulap_hf.errors import DataError

TEXT = "{title}. {genre}, {bpm} bpm. {description}"


@pytest.mark.parametrize(
    ("text", "row", "caption"),
    [
        (TEXT, {"title": "Blue", "genre": "jazz", "bpm": 90, "description": "Calm."}, "Blue. jazz, 90 bpm. Calm."),
        (TEXT, {"title": "Blue", "genre": "jazz", "bpm": 120.0, "description": ""}, "Blue. jazz, 120 bpm."),
        (TEXT, {"title": "Blue", "genre": "jazz", "bpm": None, "description": "Calm"}, "Blue. jazz. Calm"),
        (TEXT, {"title": "", "genre": None, "bpm": "90", "description": "Calm"}, "90 bpm. Calm"),
        (TEXT, {"title": "NULL", "genre": float("nan"), "bpm": "-", "description": "Calm"}, "Calm"),
        (TEXT, {"title": "Why?", "genre": "jazz"}, "Why? jazz."),
        (TEXT, {}, ""),
        ("Music, {genre}.", {"genre": "jazz"}, "Music, jazz."),
        ("Music, {genre}.", {"genre": ""}, ""),
        ("A {genre} piece by {artist}. Stereo.", {"genre": "jazz"}, ""),
        ("A {genre} piece; {mood}. Stereo.", {"mood": "calm"}, "calm. Stereo."),
        ("{tags}", {"tags": ["calm", None, "piano"]}, "calm, piano"),
        ("Genre: {genre}, mood: {mood}", {"genre": "jazz", "mood": "calm"}, "Genre: jazz, mood: calm"),
        ("{Instrument (in full)} in {key}", {"Instrument (in full)": "Flute", "key": "C"}, "Flute in C"),
        ("{a}\n{b}", {"a": "one", "b": "two"}, "one two"),
        ("{a} {a}", {"a": "x.y"}, "x.y x.y"),
    ],
)
def test_empty_parts_are_left_out(text, row, caption):
    assert Template(text, "--caption").compose(row) == caption


def test_names_of_files_need_all_parts():
    name = Template("{folder}/{id}.wav", "--file_column")
    assert name.fill({"folder": "a", "id": 7.0}) == "a/7.wav"
    assert name.fill({"folder": "a", "id": None}) is None


@pytest.mark.parametrize("text", ["title", "{}", "{title", "{{title}}", ""])
def test_texts_without_columns_are_refused(text):
    with pytest.raises(DataError, match=r"--caption .*: expected names of columns in braces, such as '{title}'"):
        Template(text, "--caption")
