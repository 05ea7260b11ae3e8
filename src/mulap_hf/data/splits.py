"""Splits by their names: of files and folders, and in a column of a table."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from ..errors import DataError
from .tables import Table, is_missing

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLIT_COLUMNS = ("split", "subset", "set", "partition", "fold")
_SPLITS = {name: split for split, names in SPLIT_NAMES.items() for name in names}
_WORDS = re.compile(r"[A-Za-z]+")


def split_named(name: str) -> str | None:
    """The split that a word names ("train", "validation" or "test"), if it is one of the usual words for it."""
    return _SPLITS.get(name.strip().casefold())


def split_of(name: str) -> str | None:
    """The split that one word in a name is for, as in `nsynth-valid`; None where there is none or several."""
    splits = {split for word in _WORDS.findall(name) if (split := split_named(word))}
    return splits.pop() if len(splits) == 1 else None


def name_splits(names: Iterable[str]) -> dict[str, str | None]:
    """The splits that files or folders beside each other are named after.

    A name that is a word for a split, but for digits (`train`, `val-00001`), is of that split. Of other names with
    such a word those are taken that differ in this word alone, as `songs_train` and `songs_test` do: a single
    `my_dev_catalogue` is not a validation split.
    """
    found, families = {}, defaultdict(dict)
    for name in names:
        words = _WORDS.findall(name)
        split = split_of(name)
        found[name] = split if split and all(split_named(word) or word == "of" for word in words) else None
        if split:
            rest = " ".join("*" if split_named(word) else word for word in words).casefold()
            families[rest][name] = split
    for family in families.values():
        if len(set(family.values())) > 1:
            found.update(family)
    return found


def split_rows(table: Table, column: str | None = None) -> tuple[dict[str, list[int]], list[int], list[str]]:
    """The rows of a table by the splits that a column of it names.

    Args:
        table: with or without such a column.
        column: name of the column; "none": there is none; None: "split", or a column such as "subset" of which all
            cells name a split.

    Returns:
        Indices of the rows by split, in the order train, validation, test, and all in "train" without a column; the
        rows without a split; and notes.

    Raises:
        DataError: the column does not exist, or a cell of it does not name a split.
    """
    name = _split_column(table, column)
    if name is None:
        return {"train": list(range(len(table.rows)))}, [], []
    found: dict[str, list[int]] = {split: [] for split in SPLIT_NAMES}
    missing = []
    for index, cell in enumerate(table.values(name)):
        split = split_named(str(cell))
        if is_missing(cell):
            missing.append(index)
        elif split is None:
            raise DataError(
                f"{table.place(index)}: the column {name!r} has {cell!r}; expected train, validation or test. Rename "
                "the cells, or pass --split_column none if this is not about splits"
            )
        else:
            found[split].append(index)
    found = {split: rows for split, rows in found.items() if rows}
    counts = ", ".join(f"{split} {len(rows):,}" for split, rows in found.items())
    return found, missing, [f"{table.path.name}: splits are those of the column {name!r}: {counts}"]


def _split_column(table: Table, column: str | None) -> str | None:
    if column is not None:
        return None if column == "none" else table.find((column,), "the splits (--split_column)")
    name = table.find(SPLIT_COLUMNS[:1], "the splits", required=False)
    if name is not None:
        return name
    for usual in SPLIT_COLUMNS[1:]:
        name = table.find((usual,), "the splits", required=False)
        if name and all(split_named(str(cell)) for cell in table.values(name) if not is_missing(cell)):
            return name
    return None


def order_splits(splits: Iterable[str]) -> list[str]:
    """Train, validation, test, then others by name."""
    usual = list(SPLIT_NAMES)
    return sorted(splits, key=lambda split: (usual.index(split) if split in usual else len(usual), split))


def draw_splits(
    groups: Sequence[str], labels: Sequence[Sequence[str]], fractions: Mapping[str, float], seed: int = 0
) -> list[str]:
    """Draws splits so that each label is in each split as often as the fractions say, and no group is in two.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011, section 3) of groups of rows: the rarest label
    is distributed first, each of its groups to the split that lacks most of it. A label that as many groups have as
    there are splits is in every split.

    Args:
        groups: of the rows.
        labels: of the rows; may be empty.
        fractions: of the rows, by split; they sum up to 1.
        seed: of the order in which groups are drawn.

    Returns:
        The split of each row.
    """
    members = defaultdict(Counter)
    for group, row in zip(groups, labels, strict=True):
        members[group].update(row or ("",))
    order = sorted(members, key=lambda group: sha256(f"{seed} {group}".encode()).digest())
    order.sort(key=lambda group: -members[group].total())  # large groups first, while there is room for them
    having = defaultdict(list)
    for group in order:
        for label in members[group]:
            having[label].append(group)
    total = Counter(label for counts in members.values() for label in counts.elements())
    need = {label: {split: fraction * total[label] for split, fraction in fractions.items()} for label in total}
    for label, found in having.items():
        if len(found) >= len(fractions):
            smallest = max(members[group][label] for group in found[-len(fractions) :])
            for split in fractions:
                need[label][split] = max(need[label][split], smallest)
            largest = max(fractions, key=fractions.get)
            need[label][largest] -= sum(need[label].values()) - total[label]
    splits: dict[str, str] = {}
    for label in sorted(having, key=lambda label: (len(having[label]), label)):
        for group in having[label]:
            if group not in splits:
                lack = need[label]
                splits[group] = max(fractions, key=lambda split: (lack[split], fractions[split]))
                for name, count in members[group].items():
                    need[name][splits[group]] -= count
    return [splits[group] for group in groups]
