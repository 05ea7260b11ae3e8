"""Tiny corpora of described audio in exactly the layouts in which the real ones are published."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np

from .files import BROKEN, EMPTY, MISSING, Layout, write_audio, write_broken, write_lines, write_table


def make_audiofolder(root: Path) -> Layout:
    for seed, (split, count) in enumerate((("train", 2), ("validation", 1))):
        rows = [
            {
                "file_name": f"audio/{split}{n}.flac",
                "caption": f"{split} \u266b {n}\nsecond line",
                "tags": ["a", "b"][: n + 1],
            }
            for n in range(count)
        ]
        for n in range(count):
            write_audio(root / split / "audio" / f"{split}{n}.flac", 10 + 2 * seed + n, rate=22050, channels=2)
        write_lines(root / split / "metadata.jsonl", [json.dumps(row, ensure_ascii=False) for row in rows])
    write_lines(root / "README.md", ["not metadata"])
    rows = {
        split: [
            (
                f"audio/{split}{n}.flac",
                root / split / "audio" / f"{split}{n}.flac",
                {"caption": f"{split} \u266b {n}\nsecond line", "tags": ["a", "b"][: n + 1]},
            )
            for n in range(count)
        ]
        for split, count in (("train", 2), ("validation", 1))
    }
    return Layout(root, rows, options={"keep_columns": ["tags"]})


def make_csv(root: Path) -> Layout:
    table = write_table(
        root / "catalog.csv",
        [
            ["id", "track", "blurb"],
            ["1", "a.wav", 'Slow, "sad"\nand long'],
            ["2", "b.wav", " "],
            ["3", "", "no file"],
            ["4", "gone.wav", "gone"],
            ["4", "a.wav", "twice the same id"],
            ["1", "a.wav", "the first id again"],
        ],
    )
    for n, name in enumerate("ab"):
        write_audio(root / "music" / f"{name}.wav", 20 + n, rate=44100)
    rows = [
        ("1", root / "music" / "a.wav", {"caption": 'Slow, "sad"\nand long'}),
        ("4#2", root / "music" / "a.wav", {"caption": "twice the same id"}),
        ("1#2", root / "music" / "a.wav", {"caption": "the first id again"}),
    ]
    skipped = [
        ("2", "no caption"),
        ("3", "no audio file is named"),
        ("4", MISSING),
    ]
    options = {"caption_column": "blurb", "file_column": "track", "audio_dir": str(root / "music")}
    return Layout(table, {"train": rows}, {"train": skipped}, options)


def make_mulap_json(root: Path) -> Layout:
    (root / "audio").mkdir(parents=True)
    waveform = np.random.default_rng(30).normal(size=8000).astype(np.float32)
    np.save(root / "audio" / "1.npy", waveform)
    np.save(root / "audio" / "2.npy", waveform[None, :4000].astype(np.float64))
    np.save(root / "audio" / "3.npy", np.zeros((2, 100), dtype=np.float32))
    write_broken(root / "audio" / "4.npy")
    write_audio(root / "audio" / "5.mp3", 31)
    for split, numbers in (("train", (1, 3, 4, 5)), ("val", (2,)), ("test", (5, 6))):
        names = {5: "audio/5.mp3"}
        items = [
            {"audio_id": n, "caption": f"track {n}", "audio_path": names.get(n, f"audio/{n}.npy")} for n in numbers
        ]
        write_lines(root / f"dataset_{split}.json", [json.dumps(items)])
    rows = {
        "train": [("1", waveform, {"caption": "track 1"}), ("5", root / "audio" / "5.mp3", {"caption": "track 5"})],
        "validation": [("2", waveform[:4000], {"caption": "track 2"})],
        "test": [("5", root / "audio" / "5.mp3", {"caption": "track 5"})],
    }
    return Layout(root, rows, {"train": [("3", BROKEN), ("4", BROKEN)], "test": [("6", MISSING)]})


def make_webdataset(root: Path) -> Layout:
    def member(tar: tarfile.TarFile, name: str, content: bytes):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))

    root.mkdir(parents=True)
    flac, mp3, wav = (
        write_audio(root.parent / f"source{suffix}", 40 + n).read_bytes()
        for n, suffix in enumerate((".flac", ".mp3", ".wav"))
    )
    with tarfile.open(root / "train-000000.tar", "w") as tar:
        member(tar, "./000000.flac", flac)
        member(tar, "./000000.json", json.dumps({"text": "a flac with json", "bpm": 90}).encode())
        member(tar, "000001.txt", b"an mp3 with text\n")
        member(tar, "000001.mp3", mp3)
        member(tar, "sub/000001.wav", wav)
        member(tar, "sub/000001.txt", b"same name in another folder")
        member(tar, "000002.json", b'{"text": "no audio"}')
        member(tar, "000003.wav", wav)
    with tarfile.open(root / "train-000001.tar", "w") as tar:
        member(tar, "000004.wav", b"")
        member(tar, "000004.txt", b"empty")
        member(tar, "000005.flac", b"garbage")
        member(tar, "000005.json", b'{"text": "broken"}')
        member(tar, "000006.flac", flac)
        member(tar, "000006.json", b"{not json")
        member(tar, "000007.flac", flac)
        member(tar, "000007.txt", b"cut off")
    whole = (root / "train-000001.tar").read_bytes()
    (root / "train-000001.tar").write_bytes(whole[: whole.index(b"000007.flac") + 2000])
    with tarfile.open(root / "test-000000.tar", "w") as tar:
        member(tar, "a.b.flac", flac)
        member(tar, "a.txt", b"a suffix with a dot")
    rows = {
        "train": [
            ("train-000000/000000", flac, {"caption": "a flac with json"}),
            ("train-000000/000001", mp3, {"caption": "an mp3 with text"}),
            ("train-000000/sub/000001", wav, {"caption": "same name in another folder"}),
        ],
        "test": [("test-000000/a", flac, {"caption": "a suffix with a dot"})],
    }
    skipped = [
        ("train-000000/000002", "no audio member"),
        ("train-000000/000003", "no caption"),
        ("train-000001/000004", EMPTY),
        ("train-000001/000005", BROKEN),
        ("train-000001/000006", "no caption"),
        ("train-000001.tar", "the rest of a broken tar file"),
    ]
    return Layout(root, rows, {"train": skipped})


def make_hub(root: Path) -> Layout:
    """A folder as it lies on the Hub: parquet whose schema says that the column is `datasets.Audio`."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Audio, Features, Value

    flac, wav = (
        write_audio(root.parent / f"source{suffix}", 50 + n).read_bytes() for n, suffix in enumerate((".flac", ".wav"))
    )
    cells = [{"bytes": flac, "path": "x.flac"}, {"bytes": wav, "path": None}, {"bytes": None, "path": None}]
    features = Features({"track": Value("string"), "audio": Audio(sampling_rate=16000), "text": Value("string")})
    for split, indices in (("train", (0, 1, 2)), ("test", (1, 0))):
        columns = {
            "track": [f"t{n}" for n in indices],
            "audio": [cells[n] for n in indices],
            "text": [f"text {n}" if split == "train" or n else None for n in indices],
        }
        (root / "data").mkdir(parents=True, exist_ok=True)
        table = pa.table(columns, schema=features.arrow_schema)
        pq.write_table(table, root / "data" / f"{split}-00000-of-00001.parquet")
    rows = {
        "train": [("t0", flac, {"caption": "text 0"}), ("t1", wav, {"caption": "text 1"})],
        "test": [("t1", wav, {"caption": "text 1"})],
    }
    skipped = {"train": [("t2", "no audio")], "test": [("t0", "no caption")]}
    return Layout(str(root), rows, skipped, {"id_column": "track"})


MUSICCAPS_DIFFERENCES = [
    "train: 2 items, published are 2,663; 1 left out",
    "test: 1 items, published are 2,858; 1 left out",
]


def make_musiccaps(root: Path) -> Layout:
    header = (
        "ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,is_balanced_subset,is_audioset_eval"
    )
    rows = [
        [
            "-0Gj8-vB1q4",
            "30",
            "40",
            "/m/0140xf,/m/02cjck",
            "['low quality', 'sad']",
            "Strings, mellow.",
            "4",
            "False",
            "True",
        ],
        ["-0SdAVK79lg", "30", "40", "/m/0155w", "['guitar song']", 'A "run" on guitar.', "0", "False", "False"],
        ["0hRdzGb6ZYQ", "230", "240", "/m/04rlf", "['brass']", "Brass.", "2", "False", "False"],
        ["_abcdefghij", "0", "10", "/m/04rlf", "['gone']", "Deleted from YouTube.", "2", "True", "False"],
        ["zzz-BROKEN_", "0", "10", "/m/04rlf", "['bad']", "An error page.", "2", "False", "True"],
    ]
    write_table(root / "musiccaps-public.csv", [header.split(","), *rows])
    plain = write_audio(root / "wav" / "-0SdAVK79lg.wav", 60)
    bracketed = write_audio(root / "wav" / "[0hRdzGb6ZYQ]-[230-240].wav", 61)
    timed = write_audio(root / "wav" / "Y-0Gj8-vB1q4_30.000_40.000.mp3", 62)
    write_broken(root / "wav" / "zzz-BROKEN_.wav")
    expected = {
        "train": [
            ("-0SdAVK79lg", plain, {"caption": 'A "run" on guitar.'}),
            ("0hRdzGb6ZYQ", bracketed, {"caption": "Brass."}),
        ],
        "test": [("-0Gj8-vB1q4", timed, {"caption": "Strings, mellow."})],
    }
    skipped = {"train": [("_abcdefghij", MISSING)], "test": [("zzz-BROKEN_", BROKEN)]}
    return Layout(root, expected, skipped, differences=MUSICCAPS_DIFFERENCES)


def make_song_describer(root: Path) -> Layout:
    header = "caption_id,track_id,caption,is_valid_subset,familiarity,artist_id,album_id,path,duration"
    rows = [
        [
            "859",
            "1004034",
            "A twisty nice melody, with synths",
            "True",
            "0",
            "368880",
            "118196",
            "34/1004034.mp3",
            "202.5",
        ],
        ["860", "1004034", "The same track, again", "", "1", "368880", "118196", "34/1004034.mp3", "202.5"],
        ["990", "1007274", "acoustic guitar", "False", "1", "429137", "118548", "74/1007274.mp3", "140.2"],
        ["991", "1009671", "gone", "True", "1", "1", "1", "71/1009671.mp3", "140.2"],
    ]
    write_table(root / "song_describer.csv", [header.split(","), *rows])
    one = write_audio(root / "audio" / "audio" / "34" / "1004034.2min.mp3", 70)
    two = write_audio(root / "audio" / "audio" / "74" / "1007274.2min.mp3", 71)
    expected = [
        ("859", one, {"caption": "A twisty nice melody, with synths", "track_id": "1004034"}),
        ("860", one, {"caption": "The same track, again", "track_id": "1004034"}),
        ("990", two, {"caption": "acoustic guitar", "track_id": "1007274"}),
    ]
    differences = ["test: 3 items, published are 1,106; 1 left out"]
    return Layout(root, {"test": expected}, {"test": [("991", MISSING)]}, differences=differences)


def make_synthetic(root: Path) -> Layout:
    truth = {
        "style": "jazz",
        "tags": ["jazz", "piano", "slow"],
        "key": "Eb minor",
        "arousal": -0.5,
        "valence": 0.25,
    }
    rows = {}
    for split in ("train", "test_presets"):
        name = f"{split}-000000"
        path = write_audio(root / split / "audio" / f"{name}.flac", 80)
        row = {"file_name": f"audio/{name}.flac", "clip_id": name, "caption": "mellow jazz", "tempo": 84.2, **truth}
        write_lines(root / split / "metadata.jsonl", [json.dumps(row)])
        rows[split] = [(name, path, {"caption": "mellow jazz", **truth})]
    write_lines(root / "corpus.json", ["{}"])
    kinds = {"tagging": "multi_label", "style": "single_label", "emotion": "regression", "key": "single_label"}
    return Layout(root, rows, tasks=kinds)
