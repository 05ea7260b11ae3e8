"""MagnaTagATune: 29 s clips with 188 crowd-sourced tags, of which the 50 most frequent are predicted."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...errors import DataError
from ..paths import find_folder, find_path
from ..schema import Example, Reading, Skipped, Task
from ..tables import read_cells, read_text

# In the order of the outputs of published taggers (by frequency).
TOP_50 = (
    "guitar classical slow techno strings drums electronic rock fast piano ambient beat violin vocal synth female "
    "indian opera male singing vocals no_vocals harpsichord loud quiet flute woman male_vocal no_vocal pop soft sitar "
    "solo man classic choir voice new_age dance male_voice female_vocal beats harp cello no_voice weird country metal "
    "female_voice choral"
)
TAGGING = Task("tagging", "multi_label", ("tags",), tuple(tag.replace("_", " ") for tag in TOP_50.split()))

# Names of the lists in circulation, by split. The .npy lists are the cleaned split; the .tsv ones have every clip.
LISTS = {
    "train": ("train.npy", "train_new.npy", "train_gt_mtt.tsv"),
    "validation": ("valid.npy", "valid_new.npy", "val_gt_mtt.tsv"),
    "test": ("test.npy", "test_new.npy", "test_gt_mtt.tsv"),
}
LIST_FOLDERS = (".", "split/mtat", "split", "mtat", "processed_annotations")
# Three mp3s of the archive are empty. They are in the lists of the training split, and not in these numbers.
BROKEN = frozenset(("35644", "55753", "57881"))
CLEANED = {"train": 15247, "validation": 1529, "test": 4332}
EVERY_CLIP = {"train": 18706, "validation": 1825, "test": 5329}


def read_magnatagatune(
    root: Path, split_by: str = "lists", split_dir: str | None = None, audio_dir: str | None = None
) -> Reading:
    """MagnaTagATune as it is unpacked: `annotations_final.csv` and the folders `0` to `f` of mp3 files.

    Args:
        root: the folder.
        split_by: "lists" for the split in published lists (`train.npy`, `valid.npy`, `test.npy` of Won et al., 2020,
            the cleaned split; or `train_gt_mtt.tsv`, `val_gt_mtt.tsv`, `test_gt_mtt.tsv` of Pons et al., 2018);
            "folders" for 0-b, c and d-f; "tagged_folders" for those of the latter with any of the 50 tags, which is
            how the cleaned split was made.
        split_dir: folder of the lists, if they are not in the root, `split` or `split/mtat`.
        audio_dir: where the folders `0` to `f` are, if elsewhere.

    Raises:
        DataError: a file is missing or has another layout.
    """
    annotations = find_path(root, ("annotations_final.csv", "annotations/annotations_final.csv"), "the annotations")
    audio = find_folder(audio_dir, root, ("mp3", "audio", "."), "the folder of the mp3s")
    clips = _read_annotations(annotations)
    if split_by == "lists":
        folder = Path(split_dir) if split_dir else root
        lists = {split: _find_list(folder, split) for split in LISTS}
        members = {split: _read_list(path) for split, path in lists.items()}
        cleaned = lists["test"].suffix == ".npy"
        note = f"Split: the published lists {', '.join(path.name for path in lists.values())}."
    else:
        cleaned = split_by == "tagged_folders"
        members = _split_by_folder(clips, tagged=cleaned)
        note = "Split: folders 0-b train, c validation, d-f test" + (", clips with any of the 50 tags." * cleaned)

    def examples(split: str) -> Iterator[Example | Skipped]:
        for member in members[split]:
            if member not in clips:
                yield Skipped(member, "not in annotations_final.csv")
                continue
            clip_id, path, tags = clips[member]
            yield Example(clip_id, audio / path, fields={"tags": tags})

    columns = {"tags": pa.list_(pa.string())}
    expected = CLEANED if cleaned else EVERY_CLIP
    splits = {split: examples(split) for split in LISTS}
    return Reading(splits, columns, (TAGGING,), expected, known_broken=BROKEN, notes=(note,))


def _read_annotations(path: Path) -> dict[str, tuple[str, str, list[str]]]:
    """(clip_id, mp3_path, tags of the 50) of every clip, both by its clip_id and by its mp3_path."""
    lines = read_cells(path, "\t")
    header = next(lines, [])
    missing = [name for name in ("clip_id", "mp3_path", *TAGGING.classes) if name not in header]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(map(repr, missing[:5]))}; expected the published file, which is "
            f"tab-separated and has clip_id, 188 tags and mp3_path"
        )
    id_at, path_at = header.index("clip_id"), header.index("mp3_path")
    tags_at = {tag: header.index(tag) for tag in TAGGING.classes}
    clips = {}
    for line in lines:
        if len(line) == len(header):
            tags = [tag for tag, position in tags_at.items() if line[position] == "1"]
            clip = (line[id_at], line[path_at], tags)
            clips[line[id_at]] = clips[line[path_at]] = clip
    return clips


def _find_list(folder: Path, split: str) -> Path:
    candidates = [f"{place}/{name}" for name in LISTS[split] for place in LIST_FOLDERS]
    try:
        return find_path(folder, candidates, f"the list of the {split} split")
    except DataError:
        names = ", ".join(LISTS[split])
        raise DataError(
            f"the list of the {split} split was not found: looked for {names} in {folder} and its folders "
            f"{', '.join(LIST_FOLDERS[1:])}; name its folder with --split_dir, or pass --split_by tagged_folders"
        ) from None


def _read_list(path: Path) -> list[str]:
    """clip_id or mp3_path of the clips in a list."""
    if path.suffix == ".npy":  # "<row of binary.npy>\t<mp3_path>"
        try:
            return [str(line).split("\t")[-1] for line in np.load(path, allow_pickle=False)]
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"{path}: expected an array of strings such as '7\\tf/clip.mp3' ({error})") from error
    return [line.split("\t")[0] for line in read_text(path).splitlines() if line.strip()]  # "<clip_id>\t[1.0, ...]"


def _split_by_folder(clips: dict[str, tuple[str, str, list[str]]], tagged: bool) -> dict[str, list[str]]:
    members = {split: [] for split in LISTS}
    for clip_id, path, tags in dict.fromkeys((clip[0], clip[1], tuple(clip[2])) for clip in clips.values()):
        if tags or not tagged:
            folder = path[:1]
            members["train" if folder < "c" else "validation" if folder == "c" else "test"].append(clip_id)
    return members
