"""Corpora as they are published -> prepared datasets: parquet shards, a dataset card and the tasks.

Shards are written one after another, each whole or not at all, so that an interrupted run is continued by repeating
it. Every audio file is opened; what cannot be used is left out, counted and named with its reason.
"""

import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ..audio import load_audio, refuse, stream_audio
from ..errors import AudioError, DataError
from ..files import make_folder, replacing, write_json
from ..settings import check_settings
from .card import write_card
from .corpora import Corpus
from .recordings import audio_digest
from .results import Prepared, Report, describe_copies
from .schema import SETTINGS_FILE, Example, Reading, Skipped, write_tasks
from .shards import read_column

FORMAT_VERSION = 2  # 2: the column `recording`
_PARTIAL = ".partial"
_GROUP_BYTES = 32 * 2**20  # audio held in memory before it is written
_OPEN_SECONDS = 1.0
_CHECK_RATE = 16000


def prepare(
    corpus: Corpus,
    root: str | Path,
    output: str | Path,
    splits: Sequence[str] | None = None,
    embed: bool = True,
    full_check: bool = False,
    shard_megabytes: float = 500,
    progress: bool = True,
    **options: Any,
) -> Report:
    """Writes a corpus as a prepared dataset (see `schema`).

    Args:
        corpus: one of `CORPORA`.
        root: where it is; for the Hub, its name there.
        output: folder to write; new, empty, or left by a run with the same settings: an interrupted one, or one with
            fewer splits, which are kept as they are.
        splits: which to prepare; default: all.
        embed: store the audio itself. Otherwise its absolute path, except for audio that has no separate file.
        full_check: decode every file to its end; otherwise only its first second.
        shard_megabytes: a shard is closed when it holds this much audio, or 10,000 rows.
        progress: show progress bars.
        options: of the corpus's reader.

    Raises:
        DataError: the corpus is not as published, the output holds something else, the split does not exist, or no
            item can be used.
    """
    output = Path(output)
    root = Path(root).resolve() if corpus.local else str(root)
    reading = corpus.read(root, **options)
    chosen = _choose(reading, splits)
    settings = {
        "format": FORMAT_VERSION,
        "corpus": corpus.name,
        "root": str(root),
        "options": json.loads(json.dumps(options)),
        "splits": chosen,
        "embed": embed,
        "full_check": full_check,
        "shard_megabytes": shard_megabytes,
    }
    prepared = _claim(output, settings)
    for split in chosen:
        if split not in prepared:
            writer = _SplitWriter(output, split, reading.arrow_schema, embed, full_check, shard_megabytes, progress)
            prepared[split] = writer.write(reading.splits[split])
    prepared = {split: prepared[split] for split in chosen}
    differences = [*reading.differences, *_compare(output, prepared, reading)]
    notes = describe_copies(output, chosen)
    report = Report(prepared, differences, notes, reading.messages, reading.known_broken)
    if report.rows == 0:
        shutil.rmtree(output)
        reasons = Counter(item.reason for item in report.skipped)
        counts = ", ".join(f"{reason}: {count}" for reason, count in reasons.items()) or "there are none"
        first = f"; the first: {report.skipped[0]}" if report.skipped else ""
        raise DataError(f"{root}: not one item of {corpus.title} can be used ({counts}){first}")
    write_tasks(output, reading.tasks)
    write_card(output, corpus, reading, report, embed=embed, full_check=full_check, options=options, root=str(root))
    finished = {split: asdict(done) for split, done in prepared.items()}
    write_json(output / SETTINGS_FILE, {"settings": settings, "finished": finished})
    shutil.rmtree(output / _PARTIAL, ignore_errors=True)
    return report


class _SplitWriter:
    """Write the shards of a split, continuing after the last existing one."""

    def __init__(
        self,
        output: Path,
        split: str,
        schema: pa.Schema,
        embed: bool,
        full_check: bool,
        shard_megabytes: float,
        progress: bool,
    ):
        self.output, self.split, self.schema = output, split, schema
        self.embed, self.full_check, self.progress = embed, full_check, progress
        self.shard_bytes = shard_megabytes * 2**20
        self.partial = output / _PARTIAL

    def write(self, items: Iterable[Example | Skipped]) -> Prepared:
        """Shards get their final names only when it is known how many there are."""
        self.partial.mkdir(exist_ok=True)
        records = self._finished_records()
        source = iter(items)
        done = sum(record["items"] for record in records)
        with tqdm(desc=self.split, unit="item", initial=done, disable=not self.progress) as bar:
            for record in records:
                if _checksum(itertools.islice(source, record["items"])) != record["checksum"]:
                    raise DataError(
                        f"{self.output}: the corpus has changed since this was begun; delete the folder, or choose "
                        "another --output"
                    )
            seen = set(itertools.chain.from_iterable(record["ids"] for record in records))
            while not (records and records[-1]["last"]):
                records.append(self._write_shard(len(records), source, seen, bar))
        shards = [index for index, record in enumerate(records) if record["rows"]]
        for number, index in enumerate(shards):
            part = self._part(index)
            if part.exists():  # else a run that was interrupted here has renamed it
                part.replace(self.output / f"{self.split}-{number:05d}-of-{len(shards):05d}.parquet")
        skipped = [Skipped(*item) for record in records for item in record["skipped"]]
        return Prepared(sum(record["rows"] for record in records), len(shards), skipped)

    def _part(self, index: int) -> Path:
        return self.partial / f"{self.split}-{index:05d}.parquet"

    def _record(self, index: int) -> Path:
        return self.partial / f"{self.split}-{index:05d}.json"

    def _finished_records(self) -> list[dict]:
        paths = itertools.takewhile(Path.exists, map(self._record, itertools.count()))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    def _write_shard(self, index: int, source: Iterator[Example | Skipped], seen: set[str], bar: tqdm) -> dict:
        """Writes a shard, then the record that says that it is there."""
        record = {"items": 0, "checksum": 0, "rows": 0, "skipped": [], "ids": [], "last": True}
        group, group_bytes, shard_bytes = [], 0, 0
        with (
            replacing(self._part(index)) as temporary,
            pq.ParquetWriter(temporary, self.schema, compression="none", use_dictionary=False) as writer,
        ):
            for item in source:
                record["items"] += 1
                record["checksum"] = _checksum([item], record["checksum"])
                bar.update()
                row = item if isinstance(item, Skipped) else self._row(item, seen)
                if isinstance(row, Skipped):
                    record["skipped"].append([row.id, row.reason, row.detail])
                    bar.set_postfix(skipped=len(record["skipped"]))
                else:
                    seen.add(row["id"])
                    record["ids"].append(row["id"])
                    group.append(row)
                    size = len(row["audio"]["bytes"] or b"")
                    group_bytes += size
                    shard_bytes += size
                if group and (group_bytes >= _GROUP_BYTES or len(group) >= 1000):
                    writer.write_table(pa.Table.from_pylist(group, self.schema))
                    group, group_bytes = [], 0
                if shard_bytes >= self.shard_bytes or len(record["ids"]) >= 10_000:
                    record["last"] = False
                    break
            if group:
                writer.write_table(pa.Table.from_pylist(group, self.schema))
        record["rows"] = len(record["ids"])
        write_json(self._record(index), record)
        return record

    def _row(self, example: Example, seen: set[str]) -> dict | Skipped:
        if example.id in seen:
            return Skipped(example.id, "an item with this id is there already")
        audio = example.audio
        if isinstance(audio, Path):
            if not os.path.isfile(audio):  # which, unlike Path's own, takes names of any length
                return Skipped(example.id, "no such file", str(audio))
            if audio.stat().st_size == 0:
                return Skipped(example.id, "empty file (0 bytes)", str(audio))
        elif not audio:
            return Skipped(example.id, "empty file (0 bytes)", example.name or "")
        try:
            _check(audio, self.full_check)
        except AudioError as error:
            return Skipped(example.id, "broken audio", str(error))
        if isinstance(audio, bytes):
            cell = {"bytes": audio, "path": example.name}
        elif self.embed:
            cell = {"bytes": audio.read_bytes(), "path": audio.name}
        else:
            cell = {"bytes": None, "path": str(audio.resolve())}
        row = {"id": example.id, "audio": cell, "recording": audio_digest(audio), **example.fields}
        return row | {"caption": example.caption} if "caption" in self.schema.names else row


def _checksum(items: Iterable[Example | Skipped], start: int = 0) -> int:
    """A digest of the ids in order, which can be continued."""
    for item in items:
        start = crc32(f"{item.id}\n".encode(errors="replace"), start)
    return start


def _check(audio: Path | bytes, full: bool):
    """Decodes the first second of a file, or all of it.

    Raises:
        AudioError: It cannot be decoded; or, if all of it is, something is missing from it.
    """
    if full:
        for _ in stream_audio(audio, _CHECK_RATE, report=refuse):
            pass
    else:
        load_audio(audio, sampling_rate=None, duration=_OPEN_SECONDS)


def _choose(reading: Reading, splits: Sequence[str] | None) -> list[str]:
    for split in splits or ():
        if split in reading.missing:
            raise DataError(f"--split {split}: {reading.missing[split]}")
        if split not in reading.splits:
            raise DataError(f"--split {split}: expected one or more of {', '.join(reading.splits)}")
    if splits is None and reading.missing:
        reasons = "; ".join(f"the split {split} is missing: {reason}" for split, reason in reading.missing.items())
        raise DataError(f"{reasons}. To prepare what is there, pass --split {' '.join(reading.splits)}")
    return [split for split in reading.splits if splits is None or split in splits]


def _claim(output: Path, settings: dict) -> dict[str, Prepared]:
    """Notes the settings in the output folder, or finds in it what has been done with them.

    Returns:
        The finished splits. They stay noted with their settings until those that are added are finished, too.

    Raises:
        DataError: there is something else in it.
    """
    path = output / SETTINGS_FILE
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content["settings"]
        if set(found["splits"]) < set(settings["splits"]):
            settings = settings | {"splits": found["splits"]}
        check_settings(found, settings, f"{output} was made", "choose another --output")
        return {
            split: Prepared(done["rows"], done["shards"], [Skipped(**item) for item in done["skipped"]])
            for split, done in (content["finished"] or {}).items()
        }
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} exists and is not an empty folder; choose another --output")
    make_folder(output, "--output")
    write_json(path, {"settings": settings, "finished": None})
    return {}


def _compare(output: Path, prepared: Mapping[str, Prepared], reading: Reading) -> list[str]:
    """How the numbers of rows differ from the published ones; what was not asked for is not compared."""
    differences = []
    for name, count in reading.expected.items():
        members = reading.splits if name == "all" else [name]
        if not all(split in prepared for split in members):
            continue
        found = sum(prepared[split].rows for split in members)
        skipped = sum(len(prepared[split].skipped) for split in members)
        if found != count + _fixed(output, members, reading):
            because = f"; {skipped:,} left out" if skipped else ""
            differences.append(f"{name}: {found:,} items, published are {count:,}{because}")
    return differences


def _fixed(output: Path, splits: Iterable[str], reading: Reading) -> int:
    """How many of the items that are broken in the published archives are rows nonetheless."""
    if not reading.known_broken:
        return 0
    ids = (read_column(sorted(output.glob(f"{split}-*-of-*.parquet")), "id") for split in splits)
    return sum(name in reading.known_broken for names in ids for name in names or ())
