"""Tiny corpora of labeled audio in exactly the layouts in which the real ones are published."""

import csv
import json
from pathlib import Path

import numpy as np

from .files import BROKEN, EMPTY, MISSING, Layout, write_audio, write_broken, write_empty, write_lines, write_table


def make_synthetic_notes(root: Path) -> Layout:
    rows = {}
    for split, family in (("train", "reed"), ("test", "synth lead")):
        name = f"{split}-note-000000"
        path = write_audio(root / "notes" / split / "audio" / f"{name}.flac", 81)
        row = {"file_name": f"audio/{name}.flac", "note_id": name, "family": family, "pitch": 60, "velocity": 100}
        write_lines(root / "notes" / split / "metadata.jsonl", [json.dumps(row)])
        rows[split] = [(name, path, {"family": family, "pitch": 60})]
    write_lines(root / "corpus.json", ["{}"])
    return Layout(root, rows, tasks={"instrument": "single_label"})


def make_magnatagatune(root: Path) -> Layout:
    """188 tags in quotes; the cleaned lists as they are in Won et al.'s repository."""
    from mulap_hf.data.corpora.magnatagatune import TAGGING

    others = [f"other tag {n}" for n in range(138)]
    tags = sorted([*TAGGING.classes, *others])
    clips = [  # clip_id, mp3_path, tags
        (
            "2",
            "f/american_bach_soloists-j_s__bach_solo_cantatas-01-bwv54__i_aria-30-59.mp3",
            ["classical", "no vocals"],
        ),
        ("6", "c/some_band-album-02-title-0-29.mp3", ["guitar", "other tag 7"]),
        ("10", "0/band-album-01-a-0-29.mp3", ["rock", "female voice"]),
        ("11", "b/band-album-01-b-0-29.mp3", ["rock"]),
        ("35644", "6/norine_braun-now_and_zen-08-gently-117-146.mp3", ["female"]),
        ("12", "1/band-album-01-c-0-29.mp3", ["other tag 9"]),
    ]
    lines = [["clip_id", *tags, "mp3_path"]]
    lines += [[clip, *("1" if tag in present else "0" for tag in tags), path] for clip, path, present in clips]
    write_table(root / "annotations_final.csv", lines, delimiter="\t", quoting=csv.QUOTE_ALL)
    for n, (clip, path, _) in enumerate(clips):
        write_empty(root / path) if clip == "35644" else write_audio(root / path, 90 + n)
    (root / "split" / "mtat").mkdir(parents=True)
    for name, members in (("train", (2, 3, 4)), ("valid", (1,)), ("test", (0,))):
        entries = np.array([f"{n}\t{clips[n][1]}" for n in members])
        np.save(root / "split" / "mtat" / f"{name}.npy", entries)
    rows = {
        "train": [
            ("10", root / clips[2][1], {"tags": ["rock", "female voice"]}),
            ("11", root / clips[3][1], {"tags": ["rock"]}),
        ],
        "validation": [("6", root / clips[1][1], {"tags": ["guitar"]})],
        "test": [("2", root / clips[0][1], {"tags": ["classical", "no vocals"]})],
    }
    differences = [
        "train: 2 items, published are 15,247; 1 left out",
        "validation: 1 items, published are 1,529",
        "test: 1 items, published are 4,332",
    ]
    return Layout(root, rows, {"train": [("35644", EMPTY)]}, differences=differences, tasks={"tagging": "multi_label"})


def make_jamendo(root: Path) -> Layout:
    """As many columns as a track has tags; one file in the low quality, one error page."""
    header = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"
    tracks = {
        "train": [
            "track_0000214\tartist_000014\talbum_000031\t14/214.mp3\t124.6\tgenre---punkrock",
            "track_0001000\tartist_000015\talbum_000032\t00/1000.mp3\t212.7\tgenre---rock\tgenre---pop\tgenre---indie",
        ],
        "validation": ["track_1376256\tartist_490499\talbum_161779\t56/1376256.mp3\t166.0\tgenre---rock\tgenre---pop"],
        "test": [
            "track_0003524\tartist_000530\talbum_000552\t24/3524.mp3\t266.1\tgenre---indie",
            "track_0003525\tartist_000530\talbum_000552\t25/3525.mp3\t266.1\tgenre---indie\tgenre---punkrock",
            "track_0003526\tartist_000530\talbum_000552\t26/3526.mp3\t266.1\tgenre---rock",
        ],
    }
    for split, lines in tracks.items():
        write_lines(root / "data" / "splits" / "split-2" / f"autotagging_genre-{split}.tsv", [header, *lines])
    paths = {
        "track_0000214": write_audio(root / "raw_30s" / "audio" / "14" / "214.mp3", 100),
        "track_0001000": write_audio(root / "raw_30s" / "audio" / "00" / "1000.low.mp3", 101),
        "track_1376256": write_audio(root / "raw_30s" / "audio" / "56" / "1376256.mp3", 102, rate=44100, channels=2),
        "track_0003524": write_audio(root / "raw_30s" / "audio" / "24" / "3524.mp3", 103),
    }
    write_broken(root / "raw_30s" / "audio" / "25" / "3525.mp3")
    tags = {
        "track_0000214": ["genre---punkrock"],
        "track_0001000": ["genre---rock", "genre---pop", "genre---indie"],
        "track_1376256": ["genre---rock", "genre---pop"],
        "track_0003524": ["genre---indie"],
    }
    splits = {
        "train": ("track_0000214", "track_0001000"),
        "validation": ("track_1376256",),
        "test": ("track_0003524",),
    }
    rows = {split: [(name, paths[name], {"tags": tags[name]}) for name in names] for split, names in splits.items()}
    skipped = {"test": [("track_0003525", BROKEN), ("track_0003526", MISSING)]}
    differences = [
        "the subset genre has 4 tags, published are 87",
        "train: 2 items, published are 32,360",
        "validation: 1 items, published are 12,185",
        "test: 1 items, published are 10,549; 2 left out",
    ]
    options = {"subset": "genre", "split_number": 2}
    return Layout(root, rows, skipped, options, differences, tasks={"genre": "multi_label"})


def make_fma(root: Path) -> Layout:
    """`tracks.csv` with its 52 columns under three header rows, and biographies with line breaks in them."""
    groups = {
        "album": "comments,date_created,date_released,engineer,favorites,id,information,listens,producer,tags,title,"
        "tracks,type",
        "artist": "active_year_begin,active_year_end,associated_labels,bio,comments,date_created,favorites,id,"
        "latitude,location,longitude,members,name,related_projects,tags,website,wikipedia_page",
        "set": "split,subset",
        "track": "bit_rate,comments,composer,date_created,date_recorded,duration,favorites,genre_top,genres,"
        "genres_all,information,interest,language_code,license,listens,lyricist,number,publisher,tags,title",
    }
    headers = [(group, name) for group, names in groups.items() for name in names.split(",")]
    tracks = [
        (2, "training", "small", "Hip-Hop"),
        (3, "training", "medium", "Hip-Hop"),
        (140, "validation", "small", "Folk"),
        (141, "test", "small", "International"),
        (98565, "training", "small", "Rock"),
        (99999, "training", "small", "Rock"),
        (100123, "test", "large", ""),
        (100124, "training", "small", "Pop"),
    ]
    lines = [["", *(group for group, _ in headers)], ["", *(name for _, name in headers)]]
    lines.append(["track_id", *("" for _ in headers)])
    for track, split, subset, genre in tracks:
        cells = {
            ("set", "split"): split,
            ("set", "subset"): subset,
            ("track", "genre_top"): genre,
            ("artist", "bio"): '<p>A Way Of Life, "A Collective"\nfrom\nNew Jersey</p>' + "x" * 140_000,
        }
        lines.append([track, *(cells.get(header, "") for header in headers)])
    write_table(root / "fma_metadata" / "tracks.csv", lines)
    paths = {
        track: write_audio(root / "fma_small" / f"{track // 1000:03d}" / f"{track:06d}.mp3", 110 + n)
        for n, track in enumerate((2, 3, 140, 141, 98565))
    }
    write_broken(root / "fma_small" / "099" / "099999.mp3")
    write_empty(root / "fma_small" / "100" / "100124.mp3")
    rows = {
        "train": [("000002", paths[2], {"genre": "Hip-Hop"})],
        "validation": [("000140", paths[140], {"genre": "Folk"})],
        "test": [("000141", paths[141], {"genre": "International"})],
    }
    skipped = {"train": [("099999", BROKEN), ("100124", EMPTY)]}
    differences = [
        "train: 1 items, published are 6,400; 2 left out",
        "validation: 1 items, published are 800",
        "test: 1 items, published are 794",
    ]
    return Layout(root, rows, skipped, differences=differences, tasks={"genre": "single_label"})


def make_nsynth(root: Path) -> Layout:
    def note(name: str, family: str, pitch: int) -> dict:
        return {
            "note": 201034,
            "sample_rate": 16000,
            "instrument_family": 0,
            "qualities": [0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            "instrument_source_str": "synthetic",
            "note_str": name,
            "instrument_family_str": family,
            "instrument_str": name[:-8],
            "pitch": pitch,
            "instrument": 417,
            "velocity": 50,
            "instrument_source": 2,
            "qualities_str": ["dark"],
        }

    notes = {
        "train": (
            "nsynth-train",
            {"bass_synthetic_033-022-050": "bass", "synth_lead_synthetic_001-060-100": "synth_lead"},
        ),
        "validation": (
            "nsynth-valid",
            {"keyboard_acoustic_004-071-127": "keyboard", "vocal_acoustic_000-060-050": "vocal"},
        ),
        "test": ("nsynth-test", {"mallet_acoustic_062-084-100": "mallet"}),
    }
    rows: dict[str, list] = {}
    for split, (folder, families) in notes.items():
        items = {name: note(name, family, int(name[-7:-4])) for name, family in families.items()}
        write_lines(root / folder / "examples.json", [json.dumps(items, indent=4)])
        for n, (name, family) in enumerate(families.items()):
            if family != "vocal":
                path = write_audio(root / folder / "audio" / f"{name}.wav", 120 + n)
                rows.setdefault(split, []).append((name, path, {"instrument": family, "pitch": int(name[-7:-4])}))
    differences = [
        "train: 2 items, published are 289,205",
        "validation: 1 items, published are 12,678; 1 left out",
        "test: 1 items, published are 4,096",
    ]
    skipped = {"validation": [("vocal_acoustic_000-060-050", MISSING)]}
    return Layout(root, rows, skipped, differences=differences, tasks={"instrument": "single_label"})


def make_emomusic(root: Path) -> Layout:
    """Cells that end in tabs, as in the published files; the splits of the artists were worked out with sha1sum."""
    info = "song_id,file_name,Artist,Song title,start of the segment (min.sec),end of the segment (min.sec),Genre"
    songs = [  # the last digit of the SHA-1 of the artist decides: 8 and 9 validation, 2 and 5 train
        [
            "2",
            "2.mp3",
            "The New Mystikal Troubadours\t",
            "Tonight A Lonely Century\t",
            "2.35",
            "3.20",
            "Blues\t",
            "development",
        ],
        ["3", "3.mp3", "Nuages\t\t", "Closer\t", "0.5", "0.5", "Blues\t", "development"],
        ["4", "4.mp3", "Broke  For Free!", "Something", "0.1", "0.46", "Rock\t", "development"],
        ["6", "6.mp3", "Podington Bear", "Nothing", "0.1", "0.46", "Pop\t", "development"],
        ["5", "5.mp3", "KEVIN MacLeod\t", "Something else", "0.1", "0.46", "Rock\t", "development"],
        ["7", "7.mp3", "Kevin MacLeod", "Evaluated", "0.1", "0.46", "Rock\t", "evaluation\t"],
        ["9", "9.mp3", "Nuages", "Unrated", "0.1", "0.46", "Rock\t", "development"],
        ["10", "10.mp3", "Nuages", "Gone", "0.1", "0.46", "Rock\t", "development"],
    ]
    write_table(root / "annotations" / "songs_info.csv", [[*info.split(","), "Mediaeval 2013 set"], *songs])
    ratings = {
        "2": (3.1, 3.0),
        "3": (3.5, 3.3),
        "4": (5.7, 5.5),
        "5": (4.4, 5.3),
        "6": (6.0, 6.5),
        "7": (1.6, 8.1),
        "10": (5.0, 5.0),
    }
    static = [[song, arousal, 1.0, valence, 0.9] for song, (arousal, valence) in ratings.items()]
    header = ["song_id", "mean_arousal", "std_arousal", "mean_valence", "std_valence"]
    write_table(root / "annotations" / "static_annotations.csv", [header, *static])
    paths = {
        song: write_audio(root / "clips_45seconds" / f"{song}.mp3", 130 + int(song), rate=44100)
        for song in ("2", "3", "4", "5", "6", "7", "9")
    }

    def row(song: str) -> tuple:
        return song, paths[song], {"arousal": ratings[song][0], "valence": ratings[song][1]}

    rows = {"train": [row("3"), row("4")], "validation": [row("2"), row("6"), row("5")], "test": [row("7")]}
    skipped = {"train": [("9", "no rating in static_annotations.csv"), ("10", MISSING)]}
    differences = [
        "train: 2 items, published are 504; 2 left out",
        "validation: 3 items, published are 115",
        "test: 1 items, published are 125",
    ]
    return Layout(root, rows, skipped, differences=differences, tasks={"emotion": "regression"})


def make_gtzan(root: Path) -> Layout:
    """Lists that name .au files, while most copies have .wav; jazz.00054 is broken in one of them."""
    lists = {
        "train_filtered.txt": ["blues/blues.00029.au", "jazz/jazz.00054.au", "rock/rock.00057.au"],
        "valid_filtered.txt": ["disco/disco.00009.au"],
        "test_filtered.txt": ["hiphop/hiphop.00000.au"],
    }
    for name, lines in lists.items():
        write_lines(root / "split" / "gtzan" / name, lines)
    au = write_audio(root / "genres_original" / "blues" / "blues.00029.au", 140, rate=22050)
    rock, disco, hiphop = (
        write_audio(root / "genres_original" / genre / f"{genre}.{number}.wav", 141 + n, rate=22050)
        for n, (genre, number) in enumerate((("rock", "00057"), ("disco", "00009"), ("hiphop", "00000")))
    )
    write_broken(root / "genres_original" / "jazz" / "jazz.00054.wav")
    rows = {
        "train": [("blues.00029", au, {"genre": "blues"}), ("rock.00057", rock, {"genre": "rock"})],
        "validation": [("disco.00009", disco, {"genre": "disco"})],
        "test": [("hiphop.00000", hiphop, {"genre": "hiphop"})],
    }
    differences = [
        "train: 2 items, published are 443; 1 left out",
        "validation: 1 items, published are 197",
        "test: 1 items, published are 290",
    ]
    return Layout(
        root, rows, {"train": [("jazz.00054", BROKEN)]}, differences=differences, tasks={"genre": "single_label"}
    )


def make_labeled(root: Path) -> Layout:
    """Class folders in folders of the splits; one file is an error page."""
    rows: dict[str, list] = {}
    for seed, (split, folder) in enumerate((("train", "train"), ("validation", "valid"), ("test", "test"))):
        for number, label in enumerate(("cello", "flute")):
            path = write_audio(root / folder / label / "1.wav", 150 + 2 * seed + number)
            rows.setdefault(split, []).append((f"{folder}/{label}/1.wav", path, {"label": label}))
    write_broken(root / "test" / "flute" / "2.wav")
    return Layout(root, rows, {"test": [("test/flute/2.wav", BROKEN)]}, tasks={"label": "single_label"}, shuffled=True)
