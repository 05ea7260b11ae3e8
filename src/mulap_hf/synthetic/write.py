"""The synthetic corpus on disk: FLAC files with a metadata file; `write_shards` writes parquet files.

An interrupted run can be repeated at any time: files are written atomically, and finished files are not made again.
The content of the folder does not depend on the number of processes.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from filelock import FileLock

from ..errors import DataError
from ..files import make_folder, replacing
from ..settings import CORPUS_SETTINGS, check_settings
from .factors import GRID_SIZE, TRIPLET_PARTS, make_grid_piece, make_triplet_piece
from .generate import CorpusConfig, fingerprint, is_held_out, make_clip, players_for
from .notes import make_note
from .parallel import run_in_processes
from .scores import Scores, find_scores, make_score_piece, timbres_of

__all__ = [
    "write_corpus",
    "write_grids",
    "write_notes",
    "write_pretraining_corpus",
    "write_scores",
    "write_triplets",
]

_METADATA_FILE = "metadata.jsonl"
_FURTHER_FILE = ".further.jsonl"  # rows of finished items beyond the last requested number, for later runs
SCRATCH_FOLDER = ".unfinished"  # rows of the finished items, one file each; removed when the split is complete


def _encode_flac(audio: np.ndarray, sampling_rate: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, sampling_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def write_whole(path: Path, content: bytes, scratch: Path) -> None:
    """Write a file that is never there in part, even if this process is killed."""
    with replacing(path, scratch) as temporary:
        temporary.write_bytes(content)


def encoded(make: Callable, config: CorpusConfig, split: str, index: int) -> tuple[dict[str, Any], bytes]:
    """Make an item; return its labels and the bytes of a FLAC file."""
    item = make(config, split, index)
    return item, _encode_flac(item.pop("audio"), config.sampling_rate)


def check_folder(config: CorpusConfig, split: str, directory: Path) -> dict[str, Any]:
    """Check that a split with these settings may be written to a folder; write nothing.

    `held_out_soundfont` is compared only for the splits that it plays. The first such split fixes it for the folder.

    Args:
        config: Settings of the corpus.
        split: Name of the split.
        directory: Folder of the corpus.

    Returns:
        The settings to store in the folder.

    Raises:
        DataError: The folder holds a corpus with other settings.
    """
    path, font = directory / CORPUS_SETTINGS, "held_out_soundfont"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    wanted = fingerprint(config)
    if not is_held_out(config, split):
        wanted[font] = found.get(font)
    accepted = found or wanted
    if accepted.get(font) is None:
        accepted = accepted | {font: wanted[font]}
    remedy = "choose another folder (soundfonts are compared by SHA-256)"
    check_settings(accepted, wanted, f"{directory} holds a corpus", remedy)
    return wanted


def claim_folder(config: CorpusConfig, split: str, directory: Path) -> None:
    """Store the settings in the folder; raises as `check_folder` does."""
    settings = check_folder(config, split, directory)
    make_folder(directory)
    with replacing(directory / CORPUS_SETTINGS) as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _clip_name(split: str, index: int) -> str:
    return f"audio/{split}-{index:06d}.flac"


def _note_name(split: str, index: int) -> str:
    return f"audio/{split}-note-{index:06d}.flac"


def _piece_name(split: str, index: int) -> str:
    triplet, part = divmod(index, len(TRIPLET_PARTS))
    return f"audio/{split}-{triplet:06d}-{TRIPLET_PARTS[part]}.flac"


def _grid_name(split: str, index: int) -> str:
    return f"audio/{split}-{index // GRID_SIZE:06d}-{index % GRID_SIZE}.flac"


def _score_name(scores: Scores, timbres: int, split: str, index: int) -> str:
    score = hashlib.sha256(scores.files[index // timbres].encode()).hexdigest()[:12]
    return f"audio/{score}-{index % timbres:02d}.flac"


def _write_item(
    make: Callable, name_file: Callable, config: CorpusConfig, split: str, folder: Path, index: int
) -> None:
    """Write the audio of an item, then its row, which marks the item as finished."""
    row, flac = encoded(make, config, split, index)
    scratch, file_name = folder / SCRATCH_FOLDER, name_file(split, index)
    write_whole(folder / file_name, flac, scratch)
    row = json.dumps({"file_name": file_name, **row}, ensure_ascii=False)
    write_whole(scratch / f"{split}-{index:06d}.json", row.encode(), scratch)


def _finished_rows(folder: Path) -> dict[str, str]:
    """Return the rows (JSON text) of the finished items, by file name."""
    lines: list[str] = []
    for name in (_METADATA_FILE, _FURTHER_FILE):
        if (folder / name).exists():
            lines += (folder / name).read_text(encoding="utf-8").splitlines()
    lines += [path.read_text(encoding="utf-8") for path in (folder / SCRATCH_FOLDER).glob("[!.]*.json")]
    rows = {}
    for line in lines:
        row = json.loads(line)
        if (folder / row["file_name"]).exists():
            rows[row["file_name"]] = line
    return rows


def _write_folder(
    make: Callable,
    name_file: Callable,
    config: CorpusConfig,
    split: str,
    number: int,
    directory: Path,
    folder: Path,
    num_workers: int | None,
    progress: bool,
) -> Path:
    check_number(number)
    players_for(config, split)  # raises before anything is written
    make_folder(directory)
    with FileLock(directory / ".lock"):  # a second process that writes the same split waits here
        claim_folder(config, split, directory)
        (folder / "audio").mkdir(parents=True, exist_ok=True)
        scratch = folder / SCRATCH_FOLDER
        scratch.mkdir(exist_ok=True)

        finished = _finished_rows(folder)
        wanted = {name_file(split, index): index for index in range(number)}
        missing = [index for file_name, index in wanted.items() if file_name not in finished]
        if missing:
            run_in_processes(
                partial(_write_item, make, name_file, config, split, folder), missing, num_workers, progress
            )

        rows = _finished_rows(folder)
        further = sorted(rows.keys() - wanted.keys())
        _write_rows(folder / _FURTHER_FILE, [rows[name] for name in further], scratch)
        _write_rows(folder / _METADATA_FILE, [rows[name] for name in wanted], scratch)
        if not further:
            (folder / _FURTHER_FILE).unlink()
        shutil.rmtree(scratch)
    return folder


def _write_rows(path: Path, rows: list[str], scratch: Path) -> None:
    write_whole(path, "".join(row + "\n" for row in rows).encode(), scratch)


def check_number(number: int, what: str = "items") -> None:
    """Raise a DataError for a number below 1."""
    if number < 1:
        raise DataError(f"the number of {what} must be at least 1, got {number}")


def write_corpus(
    config: CorpusConfig,
    split: str,
    num_clips: int,
    directory: str | os.PathLike,
    num_workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write a split as 16-bit FLAC files with a metadata file.

    The folder `directory/<split>` gets `audio/<clip_id>.flac` and `metadata.jsonl`. A row of `metadata.jsonl` has
    `file_name` (relative to the folder) and the labels of `make_clip`.

    Finished clips are never made again: an interrupted call can be repeated, and a larger `num_clips` adds clips. With
    a smaller `num_clips`, `metadata.jsonl` lists only the first clips; the files of the others stay.

    Args:
        config: Settings of the corpus.
        split: Name of a split in `SPLITS`.
        num_clips: Number of clips.
        directory: Folder of the corpus; all splits of one configuration may share it.
        num_workers: Number of processes; None for one per CPU core. More than one requires the calling script to have
            `if __name__ == "__main__":`.
        progress: Show a progress bar.

    Returns:
        The folder of the split.

    Raises:
        DataError: The folder holds a corpus with other settings, or `num_clips` is below 1.
    """
    directory = Path(directory)
    return _write_folder(
        make_clip, _clip_name, config, split, num_clips, directory, directory / split, num_workers, progress
    )


def write_pretraining_corpus(
    directory: str | os.PathLike, num_clips: int, clip_seconds: float, progress: bool = True
) -> Path:
    """Write the default pre-training corpus: the splits `train` and `validation`.

    Args:
        directory: Folder of the corpus.
        num_clips: Number of clips of `train`; `validation` has a tenth of it, and at least 64.
        clip_seconds: Length of a clip in seconds.
        progress: Show a progress bar.

    Returns:
        The folder of the corpus.

    Raises:
        DataError: The folder holds a corpus with other settings.
    """
    config = CorpusConfig(clip_seconds=clip_seconds)
    for split, number in {"train": num_clips, "validation": max(64, num_clips // 10)}.items():
        write_corpus(config, split, number, directory, progress=progress)
    return Path(directory)


def write_notes(
    config: CorpusConfig,
    split: str,
    num_notes: int,
    directory: str | os.PathLike,
    num_workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write a split of single notes to `directory/notes/<split>`, in the format of `write_corpus`.

    Args:
        config: Settings of the corpus.
        split: Name of a split in `SPLITS`.
        num_notes: Number of notes.
        directory: Folder of the corpus; clips and notes of all splits may share it.
        num_workers: Number of processes; see `write_corpus`.
        progress: Show a progress bar.

    Returns:
        The folder of the split.

    Raises:
        DataError: The folder holds a corpus with other settings, or `num_notes` is below 1.
    """
    directory = Path(directory)
    folder = directory / "notes" / split
    return _write_folder(make_note, _note_name, config, split, num_notes, directory, folder, num_workers, progress)


def write_triplets(
    config: CorpusConfig,
    split: str,
    factor: str,
    num_triplets: int,
    directory: str | os.PathLike,
    num_workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write triplets of a factor to `directory/triplets/<factor>/<split>`, in the format of `write_corpus`.

    A row per piece, three in sequence per triplet; `part` says which of them is the anchor, the positive and the
    negative. See `factors.make_triplet`.

    Args:
        config: Settings of the corpus.
        split: Name of a split in `SPLITS`.
        factor: "melody", "rhythm" or "timbre".
        num_triplets: Number of triplets.
        directory: Folder of the corpus; clips, notes and triplets of all splits may share it.
        num_workers: Number of processes; see `write_corpus`.
        progress: Show a progress bar.

    Returns:
        The folder of the split.

    Raises:
        DataError: The folder holds a corpus with other settings, or `num_triplets` is below 1.
    """
    directory = Path(directory)
    folder = directory / "triplets" / factor / split
    make, number = partial(make_triplet_piece, factor), num_triplets * len(TRIPLET_PARTS)
    return _write_folder(make, _piece_name, config, split, number, directory, folder, num_workers, progress)


def write_grids(
    config: CorpusConfig,
    split: str,
    num_grids: int,
    directory: str | os.PathLike,
    num_workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write grids of eight pieces to `directory/grids/<split>`, in the format of `write_corpus`.

    See `factors.make_grid_piece`.

    Args:
        config: Settings of the corpus.
        split: Name of a split in `SPLITS`.
        num_grids: Number of grids.
        directory: Folder of the corpus; clips, notes, triplets and grids of all splits may share it.
        num_workers: Number of processes; see `write_corpus`.
        progress: Show a progress bar.

    Returns:
        The folder of the split.

    Raises:
        DataError: The folder holds a corpus with other settings, or `num_grids` is below 1.
    """
    directory = Path(directory)
    folder, number = directory / "grids" / split, num_grids * GRID_SIZE
    return _write_folder(make_grid_piece, _grid_name, config, split, number, directory, folder, num_workers, progress)


def write_scores(
    config: CorpusConfig,
    split: str,
    folder: str | os.PathLike,
    directory: str | os.PathLike,
    num_workers: int | None = None,
    progress: bool = True,
) -> tuple[Path, Scores]:
    """Write every MIDI file of a folder, played with every timbre, to `directory/scores/<split>`.

    See `scores.make_score_piece`; the format is that of `write_corpus`.

    Args:
        config: Settings of the corpus.
        split: Name of a split in `SPLITS`, which decides on the renderers.
        folder: Folder of the MIDI files.
        directory: Folder of the corpus.
        num_workers: Number of processes; see `write_corpus`.
        progress: Show a progress bar.

    Returns:
        The folder of the split, and the scores, with those that could not be used.

    Raises:
        DataError: The folder holds a corpus with other settings, or none of the MIDI files can be used.
        MissingPackageError: mido is not installed.
    """
    scores, timbres = find_scores(folder, config.clip_seconds), len(timbres_of(config, split))
    directory = Path(directory)
    written = _write_folder(
        partial(make_score_piece, scores),
        partial(_score_name, scores, timbres),
        config,
        split,
        len(scores.files) * timbres,
        directory,
        directory / "scores" / split,
        num_workers,
        progress,
    )
    return written, scores
