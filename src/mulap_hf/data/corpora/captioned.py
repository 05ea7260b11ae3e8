"""Described audio in folders: audiofolder, CSV, the published MuLaP JSON, MusicCaps and Song Describer."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile

from ...audio import AUDIO_EXTENSIONS, UNSUPPORTED_EXTENSIONS
from ...errors import DataError
from ..schema import Example, Reading
from ..tables import SURPLUS, Skipped, clean_caption, find_column, find_folder, find_path, read_rows, split_of

CAPTION_COLUMNS = ("caption", "text", "description")
FILE_COLUMNS = ("file_name", "audio_path", "path", "file", "audio", "filename")
ID_COLUMNS = ("audio_id", "clip_id", "id")
METADATA_NAMES = ("metadata.jsonl", "metadata.csv")
WAVEFORM_SUFFIX, WAVEFORM_RATE = ".npy", 16000  # of waveforms in the published MuLaP format

_CAPTION = {"caption": pa.string()}


def read_described(
    table: Path,
    rows: Sequence[dict],
    file_columns: Sequence[str] = FILE_COLUMNS,
    caption_columns: Sequence[str] = CAPTION_COLUMNS,
    keep_columns: Sequence[str] = (),
    audio_dir: Path | None = None,
    needs_captions: bool = True,
) -> Iterator[Example | Skipped]:
    """Rows of a metadata file as examples.

    Ids are those of the table, or else the file names; the second and third of the same get `#2` and `#3`.

    Args:
        table: the metadata file.
        rows: what is in it.
        file_columns: the first of them that exists names the audio file.
        caption_columns: the first of them that exists has the caption.
        keep_columns: columns to carry over as they are.
        audio_dir: folder that the files are relative to; default: the folder of the metadata file.
        needs_captions: leave out what has no caption.

    Raises:
        DataError: a column is missing.
    """
    file_column = find_column(rows, file_columns, table, "the audio file")
    caption_column = find_column(rows, caption_columns, table, "the caption (--caption_column)", needs_captions)
    for column in keep_columns:
        find_column(rows, (column,), table, "--keep_columns")
    folder = audio_dir or table.parent
    seen: Counter[str] = Counter()
    for number, row in enumerate(rows):
        file_name = str(row.get(file_column) or "")
        ids = (row[column] for column in ID_COLUMNS if row.get(column) not in (None, ""))
        name = str(next(ids, file_name or f"row {number + 1}"))
        seen[name] += 1
        if seen[name] > 1:  # several captions of a file are several pairs
            name = f"{name}#{seen[name]}"
        caption = clean_caption(row.get(caption_column))
        fields = {column: row.get(column) for column in keep_columns}
        if SURPLUS in row:
            yield Skipped(name, "more cells than the table has columns", "put cells with a comma in them in quotes")
        elif not caption and needs_captions:
            yield Skipped(name, "no caption")
        elif not file_name:
            yield Skipped(name, "no audio file is named")
        else:
            yield Example(name, folder / file_name, caption=caption or None, fields=fields)


def read_audiofolder(root: Path, caption_column: str | None = None, keep_columns: Sequence[str] = ()) -> Reading:
    """A folder with `metadata.jsonl` or `metadata.csv` (`file_name`, caption), or one such folder per split.

    Raises:
        DataError: there is no metadata file, or it lacks a column.
    """
    tables: dict[str, Path] = {}
    for folder in (root, *sorted(path for path in root.glob("*/") if split_of(path.name))):
        table = next((folder / name for name in METADATA_NAMES if (folder / name).is_file()), None)
        if table is not None:
            _add_table(tables, split_of(folder.name) if folder != root else "train", table)
    if not tables:
        find_path(root, (*METADATA_NAMES, *(f"train/{name}" for name in METADATA_NAMES)), "the metadata")
    return _read_tables(tables, ("file_name",), caption_column, keep_columns)


def read_csv_table(
    root: Path,
    caption_column: str | None = None,
    file_column: str | None = None,
    keep_columns: Sequence[str] = (),
    audio_dir: str | None = None,
) -> Reading:
    """A CSV or TSV file, or a folder of them named after their splits.

    Raises:
        DataError: there is no such file, or it lacks a column.
    """
    tables = _tables_of(root, (".csv", ".tsv"))
    files = (file_column,) if file_column else FILE_COLUMNS
    return _read_tables(tables, files, caption_column, keep_columns, audio_dir, " (--file_column)")


def read_mulap_json(root: Path, audio_dir: str | None = None) -> Reading:
    """The published MuLaP JSON: a list of `{"audio_id", "caption", "audio_path"}`, or a folder of one per split.

    Raises:
        DataError: there is no such file, or it lacks one of the three.
    """
    return _read_tables(_tables_of(root, (".json",)), ("audio_path",), "caption", (), audio_dir)


def read_musiccaps(root: Path, audio_dir: str | None = None) -> Reading:
    """MusicCaps: its CSV, and the clips under any of the usual names that downloaders give them.

    Raises:
        DataError: there is no CSV, or it lacks a column.
    """
    table = find_path(root, ("musiccaps-public.csv", "musiccaps.csv", "data/musiccaps-public.csv"), "MusicCaps's CSV")
    rows = read_rows(table, required=("ytid", "start_s", "end_s", "caption", "is_audioset_eval"))
    folder = find_folder(audio_dir, root, (".",), "the folder of the clips")
    files = find_stems(folder)

    def examples(test: bool) -> Iterator[Example | Skipped]:
        for row in rows:
            if (row["is_audioset_eval"].strip().lower() == "true") != test:
                continue
            name = row["ytid"]
            path = next((files[stem] for stem in _musiccaps_stems(row) if stem in files), None)
            if not row["caption"].strip():
                yield Skipped(name, "no caption")
            elif path is None:
                yield Skipped(name, "no such file", f"no audio file named after {name} below {folder}")
            else:
                yield Example(name, path, caption=row["caption"].strip())

    return Reading(
        {"train": examples(test=False), "test": examples(test=True)},
        _CAPTION,
        expected={"all": 5521},
        notes=("Split: AudioSet's evaluation segments (`is_audioset_eval`) are the test split, the others train.",),
    )


def read_song_describer(root: Path, audio_dir: str | None = None, subset: str = "all") -> Reading:
    """The Song Describer dataset: one row per caption, up to five captions of a recording.

    Args:
        root: folder with `song_describer.csv` and `audio/` (with `NN/<track>.2min.mp3` in it).
        audio_dir: where the folders `00` to `99` are, if elsewhere.
        subset: "all", or "valid" for the captions that its authors validated.

    Raises:
        DataError: a file or column is missing.
    """
    table = find_path(root, ("song_describer.csv", "data/song_describer.csv"), "song_describer.csv")
    rows = read_rows(table, required=("caption_id", "track_id", "caption", "is_valid_subset", "path"))
    places = ("audio/audio", "audio", "data/audio/audio", "data/audio", ".")
    audio = find_folder(audio_dir, root, places, "the audio of Song Describer")

    def examples() -> Iterator[Example | Skipped]:
        for row in rows:
            if subset == "valid" and row["is_valid_subset"].strip().lower() != "true":
                continue
            name = row["caption_id"]
            full = audio / row["path"]
            excerpt = full.with_suffix(".2min.mp3")
            if not row["caption"].strip():
                yield Skipped(name, "no caption")
                continue
            fields = {"track_id": row["track_id"]}
            yield Example(name, excerpt if excerpt.exists() else full, caption=row["caption"].strip(), fields=fields)

    return Reading(
        {"test": examples()},
        {**_CAPTION, "track_id": pa.string()},
        expected={"test": 1106 if subset == "all" else 746},
        notes=(
            "Its authors mean it for evaluation only, and drew it from the test split of MTG-Jamendo's split-0: it is "
            "the split `test` here. Recordings with several captions are stored once per caption.",
        ),
    )


def find_stems(folder: Path) -> dict[str, Path]:
    """All audio files in and below a folder, by their name without suffix; of several, one that can be read."""
    files = sorted(folder.rglob("*"))
    kinds = (UNSUPPORTED_EXTENSIONS, AUDIO_EXTENSIONS)
    return {path.stem: path for kind in kinds for path in files if path.suffix.lower() in kind}


def _musiccaps_stems(row: dict) -> Iterator[str]:
    name = row["ytid"]
    yield from (name, f"[{name}]", f"Y{name}")
    for unit in ("", ".000", "000"):  # whole seconds, with decimals, milliseconds
        start, end = f"{row['start_s']}{unit}", f"{row['end_s']}{unit}"
        for known in (name, f"[{name}]", f"Y{name}"):
            yield f"{known}-[{start}-{end}]"
            for separator in "_-":
                yield f"{known}{separator}{start}{separator}{end}"
                yield f"{known}{separator}{start}"


def _tables_of(root: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The table itself as the training split, or the tables of a folder by the split that each is named after."""
    if root.is_file():
        return {"train": root}
    found = sorted(path for path in root.glob("*") if path.suffix.lower() in suffixes)
    tables: dict[str, Path] = {}
    for path in found:
        if split := split_of(path.stem):
            _add_table(tables, split, path)
    if not tables and len(found) == 1:
        return {"train": found[0]}
    if not tables:
        names = ", ".join(path.name for path in found) or "nothing"
        wanted = " or ".join(suffixes)
        raise DataError(
            f"{root}: expected one {wanted} file, or several named after train, validation and test; found {names}: "
            "name the file itself with --root"
        )
    return tables


def _add_table(tables: dict[str, Path], split: str, table: Path):
    if split in tables:
        raise DataError(f"{tables[split]} and {table} are both of the split {split}: make one of them")
    tables[split] = table


def _read_tables(
    tables: dict[str, Path],
    file_columns: Sequence[str],
    caption_column: str | None,
    keep_columns: Sequence[str],
    audio_dir: str | None = None,
    file_option: str = "",
) -> Reading:
    """The examples of tables; `.npy` waveforms become 32-bit wav files, sample by sample the same."""
    for name in keep_columns:
        if name in ("id", "audio", "caption"):
            raise DataError(f"--keep_columns {name}: a prepared dataset has a column of that name in any case")
    captions = (caption_column,) if caption_column else CAPTION_COLUMNS
    rows = {split: read_rows(table) for split, table in tables.items()}
    for split, table in tables.items():
        find_column(rows[split], file_columns, table, f"the audio file{file_option}")
        find_column(rows[split], captions, table, "the caption (--caption_column)")
    kept = {
        name: _column_type(name, [row.get(name) for table in rows.values() for row in table]) for name in keep_columns
    }
    read = partial(
        read_described,
        file_columns=file_columns,
        caption_columns=captions,
        keep_columns=keep_columns,
        audio_dir=find_folder(audio_dir, Path(), (), "--audio_dir") if audio_dir else None,
    )
    splits = {split: map(_from_waveform, read(table, rows[split])) for split, table in tables.items()}
    return Reading(splits, {**_CAPTION, **kept})


def _column_type(name: str, values: list) -> pa.DataType:
    try:
        return pa.array(values).type
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"--keep_columns {name}: its cells are not of one kind ({error})") from error


def wav_bytes(waveform: np.ndarray, sampling_rate: int) -> bytes:
    """A waveform, `(samples,)` or `(samples, channels)`, as a 32-bit float wav file, which gives it back as it was."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, sampling_rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def _from_waveform(example: Example | Skipped) -> Example | Skipped:
    if isinstance(example, Skipped) or example.audio.suffix != WAVEFORM_SUFFIX:
        return example
    path = example.audio
    try:
        waveform = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return Skipped(example.id, "no such file", str(path))
    except (OSError, ValueError, EOFError) as error:
        return Skipped(example.id, "broken audio", f"{path}: {error}")
    waveform = np.squeeze(waveform)
    if waveform.ndim != 1 or waveform.dtype.kind != "f" or waveform.size == 0:
        found = f"{waveform.dtype} {waveform.shape}"
        return Skipped(example.id, "broken audio", f"{path}: expected mono float samples, found {found}")
    audio = wav_bytes(waveform.astype(np.float32), WAVEFORM_RATE)
    return Example(example.id, audio, f"{path.stem}.wav", example.caption, example.fields)
