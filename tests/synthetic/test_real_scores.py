"""Real scores played with several timbres, through the command line."""

import json

import numpy as np
import pytest
import soundfile

from mulap_hf.errors import DataError, MulapError
from mulap_hf.synthetic import __main__ as command

mido = pytest.importorskip("mido")


def write_midi(path, pitches, seconds=0.25):
    """A MIDI file with one note after the other, after 2 s of rest, and a drum on every beat."""
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500_000)])
    ticks = round(seconds * 2 * 480)
    for position, pitch in enumerate(pitches):
        rest = 4 * 480 if position == 0 else 0
        track.append(mido.Message("note_on", note=pitch, velocity=90, time=rest))
        track.append(mido.Message("note_on", channel=9, note=36, velocity=90))
        track.append(mido.Message("note_on", note=pitch, velocity=0, time=ticks))
        track.append(mido.Message("note_off", channel=9, note=36))
    mido.MidiFile(tracks=[track], ticks_per_beat=480).save(path)


def write(scores, directory, *options):
    command.main(
        ["--scores", str(scores), "--output", str(directory), "--clip_seconds", "3", "--num_workers", "1", *options]
    )
    lines = (directory / "scores" / "train" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def lowest_frequency(audio, rate):
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    return np.argmax(spectrum > 0.5 * spectrum.max()) * rate / len(audio)


def test_every_score_is_played_with_every_timbre(tmp_path, capsys):
    scores = tmp_path / "midi"
    (scores / "sub").mkdir(parents=True)
    write_midi(scores / "low.mid", [45] * 12)
    write_midi(scores / "sub" / "high.MID", [69] * 12)
    write_midi(scores / "short.mid", [60] * 3)
    (scores / "broken.mid").write_bytes(b"MThd then nothing")
    rows = write(scores, tmp_path / "out")
    printed = capsys.readouterr()
    assert "2 scores in" in printed.out and "2 files left out" in printed.out
    assert "short.mid: 3 notes in 3 s, fewer than 8" in printed.err
    assert "broken.mid cannot be read as a MIDI file" in printed.err
    timbres = {f"{instrument}, numpy" for instrument in ("piano", "organ", "strings", "vibraphone")}
    assert {(row["melody"], row["timbre"]) for row in rows} == {
        (score, timbre) for score in ("low.mid", "sub/high.MID") for timbre in timbres
    }
    assert all(row["rhythm"] is None for row in rows)
    assert len({row["tempo_factor"] for row in rows}) == len(rows)
    for row in rows:
        audio, rate = soundfile.read(tmp_path / "out" / "scores" / "train" / row["file_name"])
        assert len(audio) == 3 * rate and np.abs(audio[: rate // 2]).max() > 0.01  # starts with the first note
        expected = 110 if row["melody"] == "low.mid" else 440
        if "organ" not in row["timbre"] and "vibraphone" not in row["timbre"]:
            assert lowest_frequency(audio, rate) == pytest.approx(expected, rel=0.06)
    assert write(scores, tmp_path / "out") == rows


def test_refused_scores(tmp_path):
    (tmp_path / "midi").mkdir()
    with pytest.raises(DataError, match=r"has no usable MIDI file \(.mid or .midi\); pass a folder of scores"):
        write(tmp_path / "midi", tmp_path / "out")
    with pytest.raises(MulapError, match="--scores writes flac only"):
        write(tmp_path / "midi", tmp_path / "out", "--format", "parquet")
