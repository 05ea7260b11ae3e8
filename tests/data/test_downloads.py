"""Files as downloaders and archives leave them: MusicCaps clips and videos, tars, and links to folders."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from layouts import write_audio, write_table

from mulap_hf import load_audio
from mulap_hf.data.corpora import CORPORA
from mulap_hf.data.schema import Skipped
from mulap_hf.data.streams import has_split, open_pairs

HEADER = ["ytid", "start_s", "end_s", "caption", "is_audioset_eval"]


def musiccaps(root, start, end):
    """The only item of a MusicCaps with one row."""
    write_table(root / "musiccaps-public.csv", [HEADER, ["-0SdAVK79lg", start, end, "A guitar.", "False"]])
    (item,) = CORPORA["musiccaps"].read(root).splits["train"]
    return item


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("-0SdAVK79lg.wav", 30, 40),
        ("[-0SdAVK79lg]-[30-40].mp3", 30, 40),
        ("-0SdAVK79lg_0_10000.wav", 0, 10),
        ("-0SdAVK79lg_30000_40000.flac", 30, 40),
        ("-0SdAVK79lg_0.wav", 0, 10),
        ("Y-0SdAVK79lg_30.000_40.000.wav", 30, 40),
        ("sub/Some [live] title [-0SdAVK79lg].ogg", 30, 40),
    ],
)
def test_names_of_clips(tmp_path, name, start, end):
    path = write_audio(tmp_path / name, 0)
    assert musiccaps(tmp_path, start, end).audio == path


@pytest.mark.parametrize("name", ["-0SdAVK79lg.wav", "Title [-0SdAVK79lg].flac"])
def test_whole_videos_are_cut(tmp_path, name):
    """A ramp: every sample says when it is."""
    seconds = np.repeat(np.arange(61), 8000) / 100
    soundfile.write(tmp_path / name, np.stack([seconds, seconds], axis=1), 8000)
    item = musiccaps(tmp_path, 30, 40)
    assert item.name.endswith(".flac")
    samples = load_audio(item.audio, None)
    assert len(samples) == 441000
    middle = samples.reshape(10, 44100)[:, 22050]
    np.testing.assert_allclose(middle, np.arange(30, 40) / 100, atol=1e-3)


def test_what_is_neither_clip_nor_video(tmp_path):
    soundfile.write(tmp_path / "-0SdAVK79lg.wav", np.zeros(8000 * 20), 8000)
    item = musiccaps(tmp_path, 30, 40)
    assert isinstance(item, Skipped) and "20.0 s are neither the clip nor the video with" in item.detail


def write_tar(path, members, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz")])
def test_archives_with_dots_in_their_names(tmp_path, suffix, mode):
    audio = write_audio(tmp_path / "a.wav", 0).read_bytes()
    members = {
        "1004034.2min.wav": audio,
        "1004034.2min.txt": b"two minutes",
        "Mr. Blue.wav": audio,
        "Mr. Blue.json": b'{"caption": "blue"}',
        "Mr. Red.wav": audio,
        "Mr. Red.json": b'{"caption": "red"}',
        "7.WAV": audio,
        "7.TXT": b"capitals",
    }
    write_tar(tmp_path / "tars" / f"part.1{suffix}", members, mode)
    expected = {
        "part.1/1004034": "two minutes",
        "part.1/Mr. Blue": "blue",
        "part.1/Mr. Red": "red",
        "part.1/7": "capitals",
    }
    (items,) = CORPORA["webdataset"].read(tmp_path / "tars").splits.values()
    assert {item.id: item.caption for item in items} == expected
    for source in (tmp_path / "tars", tmp_path / "tars" / f"part.1{suffix}"):
        assert {row["id"]: row["caption"] for row in open_pairs(source).dataset} == expected


def test_names_of_archives_and_their_folders(tmp_path):
    audio = write_audio(tmp_path / "a.wav", 0).read_bytes()
    for name in ("train/0.tar", "valid/0.tar"):
        write_tar(tmp_path / "split" / name, {"a.wav": audio, "a.txt": name.encode()})
    assert has_split(tmp_path / "split", "validation")
    (row,) = open_pairs(tmp_path / "split", "validation").dataset
    assert row["caption"] == "valid/0.tar"
    write_tar(tmp_path / "all" / "best_of_test_pressings" / "0.tar", {"a.wav": audio, "a.txt": b"x"})
    assert list(CORPORA["webdataset"].read(tmp_path / "all").splits) == ["train"]
    assert not has_split(tmp_path / "all", "test")


def test_links_to_folders_are_followed(tmp_path):
    audio = write_audio(tmp_path / "real" / "-0SdAVK79lg.wav", 0)
    write_tar(tmp_path / "real" / "0.tar", {"a.wav": audio.read_bytes(), "a.txt": b"tar"})
    (tmp_path / "caps").mkdir()
    (tmp_path / "caps" / "wav").symlink_to(tmp_path / "real")
    assert musiccaps(tmp_path / "caps", 30, 40).audio == tmp_path / "caps" / "wav" / "-0SdAVK79lg.wav"
    (tmp_path / "caps" / "musiccaps-public.csv").unlink()
    assert [row["caption"] for row in open_pairs(tmp_path / "caps").dataset] == ["tar"]
    (tmp_path / "real" / "0.tar").unlink()
    rows = [{"id": "a", "audio": {"bytes": audio.read_bytes(), "path": None}, "caption": "shard"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "real" / "train-00000-of-00001.parquet")
    assert open_pairs(tmp_path / "caps").captions() == ["shard"]


def test_audio_given_to_hub(tmp_path):
    write_audio(tmp_path / "a.wav", 0)
    with pytest.raises(ValueError, match="is a folder of audio files, not a dataset: prepare it as audiofolder"):
        CORPORA["hub"].read(str(tmp_path))
