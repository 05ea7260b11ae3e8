"""MusicCaps: captions of 10 s of YouTube videos, with the clips under whatever names downloaders give them."""

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import soundfile

from ...audio import audio_seconds, load_audio
from ...errors import AudioError
from ..paths import find_audio, find_folder, find_path, is_readable
from ..schema import Example, Reading, Skipped
from ..tables import is_missing, read_rows

COLUMNS = ("ytid", "start_s", "end_s", "caption", "is_audioset_eval")
EXPECTED = {"train": 2663, "test": 2858}
_CUT_RATE = 44100  # of the clips that are cut out of videos, in Hz
_TOLERANCE = 1.0  # seconds that a file may be longer than the clip that it is
_YTDLP_NAME = re.compile(r".*\[([\w-]{11})\]", re.DOTALL)


def read_musiccaps(root: Path, audio_dir: str | None = None) -> Reading:
    """MusicCaps: its CSV, and the clips or whole videos under any of the usual names.

    Args:
        root: folder with `musiccaps-public.csv`.
        audio_dir: folder in or below which the audio is, if not the root.

    Raises:
        DataError: the CSV is missing, or it lacks a column.
    """
    table = find_path(root, ("musiccaps-public.csv", "musiccaps.csv", "data/musiccaps-public.csv"), "MusicCaps's CSV")
    rows = read_rows(table, required=COLUMNS)
    folder = find_folder(audio_dir, root, (".",), "the folder of the clips")
    files = _files_by_name(folder)

    def examples(test: bool) -> Iterator[Example | Skipped]:
        for row in rows:
            if (row["is_audioset_eval"].strip().lower() == "true") == test:
                yield _example(row, files, folder)

    return Reading(
        {"train": examples(test=False), "test": examples(test=True)},
        {"caption": pa.string()},
        expected=EXPECTED,
        notes=(
            "Split: AudioSet's evaluation segments (`is_audioset_eval`) are the test split, the others train.",
            "Of whole videos, the part from `start_s` to `end_s` is stored, as FLAC, mono, at 44.1 kHz.",
        ),
    )


def _files_by_name(folder: Path) -> dict[str, Path]:
    """Audio files by their name without suffix, and by the id in names such as `Title [id].m4a`."""
    files: dict[str, Path] = {}
    for path in sorted(find_audio(folder)[0], key=is_readable, reverse=True):
        files.setdefault(path.stem, path)
    for path in list(files.values()):
        if match := _YTDLP_NAME.fullmatch(path.stem):
            files.setdefault(match[1], path)
    return files


def _example(row: Mapping[str, str], files: Mapping[str, Path], folder: Path) -> Example | Skipped:
    name, caption = row["ytid"], row["caption"].strip()
    if is_missing(caption):
        return Skipped(name, "no caption")
    clip = next((files[stem] for stem in _clip_stems(row) if stem in files), None)
    if clip is not None:
        return Example(name, clip, caption=caption)
    whole = next((files[stem] for stem in (name, f"[{name}]", f"Y{name}") if stem in files), None)
    if whole is None:
        return Skipped(name, "no such file", f"no audio file named after {name} below {folder}")
    try:
        return Example(name, *_cut(whole, float(row["start_s"]), float(row["end_s"])), caption=caption)
    except AudioError as error:
        return Skipped(name, "broken audio", str(error))


def _clip_stems(row: Mapping[str, str]) -> Iterator[str]:
    """Names of clips, with their start and end in whole seconds, with decimals, or in milliseconds."""
    name = row["ytid"]
    times = [(row["start_s"], row["end_s"]), (f"{row['start_s']}.000", f"{row['end_s']}.000")]
    times.append(tuple(str(round(1000 * float(row[key]))) for key in ("start_s", "end_s")))
    for start, end in times:
        for known in (name, f"[{name}]", f"Y{name}"):
            yield f"{known}-[{start}-{end}]"
            for separator in "_-":
                yield f"{known}{separator}{start}{separator}{end}"
                yield f"{known}{separator}{start}"


def _cut(path: Path, start: float, end: float) -> tuple[Path | bytes, str | None]:
    """The file if it is the clip; of a whole video the part from `start` to `end` as FLAC, and its file name.

    Raises:
        AudioError: the file is broken, or is neither.
    """
    seconds = audio_seconds(path)
    if seconds <= end - start + _TOLERANCE:
        return path, None
    if seconds < end - _TOLERANCE:
        raise AudioError(f"{path}: {seconds:.1f} s are neither the clip nor the video with the clip at {start:g} s")
    buffer = io.BytesIO()
    part = load_audio(path, _CUT_RATE, offset=start, duration=end - start)
    soundfile.write(buffer, part, _CUT_RATE, format="FLAC")
    return buffer.getvalue(), f"{path.stem}.flac"
