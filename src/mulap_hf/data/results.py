"""What preparing a corpus gave: rows, shards, what was left out, and audio that is there more than once."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from .schema import SETTINGS_FILE, Skipped


@dataclass
class Prepared:
    """What was done with a split: rows written, shards, and what was left out."""

    rows: int = 0
    shards: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def reasons(self) -> Counter:
        return Counter(item.reason for item in self.skipped)


@dataclass
class Report:
    """What `prepare` did.

    Attributes:
        splits: by name.
        differences: how the counts differ from the published ones, a sentence each.
        notes: which audio is there more than once, a sentence each.
        messages: what else the user should know, a sentence each; they may have paths of this machine.
        known_broken: ids of items that are broken in the published archives, too.
    """

    splits: dict[str, Prepared]
    differences: list[str]
    notes: list[str] = field(default_factory=list)
    messages: Sequence[str] = ()
    known_broken: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        return sum(split.rows for split in self.splits.values())

    @property
    def skipped(self) -> list[Skipped]:
        return [item for split in self.splits.values() for item in split.skipped]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing but what is known to be broken, and all counts are the published ones."""
        return not self.differences and all(item.id in self.known_broken for item in self.skipped)

    def sizes(self) -> list[str]:
        """A line per split."""
        return [
            f"{split}: {done.rows:,} items in {done.shards} shard{'s' * (done.shards != 1)}"
            for split, done in self.splits.items()
        ]

    def warnings(self) -> list[str]:
        """What to look at, a line each: differences, notes, and what was left out by its reasons."""
        lines = [f"differs from the published corpus: {difference}" for difference in self.differences]
        lines += [f"note: {note}" for note in (*self.messages, *self.notes)]
        if self.skipped:
            lines.append(f"left out: {len(self.skipped):,}; all of them are in {SETTINGS_FILE}")
        for split, done in self.splits.items():
            for reason, count in done.reasons.most_common():
                example = next(item for item in done.skipped if item.reason == reason)
                known = sum(item.reason == reason and item.id in self.known_broken for item in done.skipped)
                there = f" ({known} are broken in the published archives, too)" if known else ""
                lines.append(f"  {split}: {count:,} x {reason}{there}, for example {example}")
        return lines


def describe_copies(folder: Path, splits: Iterable[str]) -> list[str]:
    """Which audio of a prepared dataset is there more than once, a sentence each.

    Several rows of one file, such as several captions of it, are fine in one split: they are not mentioned.
    """
    first: dict[str, tuple[str, str, str]] = {}
    copies, leaks = [], []
    for split in splits:
        for shard in sorted(folder.glob(f"{split}-*-of-*.parquet")):
            table = pq.ParquetFile(shard).read(columns=["id", "recording", "audio.path"]).to_pylist()
            for row in table:
                name, path = row["id"], row["audio"]["path"]
                other, other_split, other_path = first.setdefault(row["recording"], (name, split, path))
                if other_split != split:
                    leaks.append(f"{other} ({other_split}) and {name} ({split})")
                elif other != name and other_path != path:
                    copies.append(f"{other} and {name}")
    return [
        *_sentence("items with the same audio as an item of another split", leaks),
        *_sentence("items with a copy of another item's audio", copies),
    ]


def _sentence(what: str, examples: Sequence[str]) -> list[str]:
    return [f"{what}: {len(examples):,}, for example {examples[0]}"] if examples else []
