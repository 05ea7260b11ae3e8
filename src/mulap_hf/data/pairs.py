"""Described or labeled audio as a stream of rows, and how it is divided without dividing a recording."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress, islice
from zlib import crc32

from datasets import IterableDataset

from ..errors import DataError
from .recordings import Groups, is_drawn
from .schema import Skipped


@dataclass
class PairStream:
    """Described or labeled audio.

    dataset: rows of `id`, `audio` (a struct of `bytes` and `path`, one of them null), `caption` (null where there is
        none), `labels` (a list, empty without a label column), `group` (rows of one recording, or with the same value
        of the group column, have the same), and `problem`: why the row cannot be used, null where it can. In shards.
    skipped: what was left out of it from the start.
    ids, labels, texts: of all its rows, where they are known without reading the audio; texts are the captions.
    multi_label: whether the label column holds lists of labels, rather than one label per row.
    find_groups: what gives the group of each row, where ids are known. It may open files: it is called to draw only.
    notes: what was found in opening and drawing, a sentence each.
    version: of the files that it is read from, where their storage tells.
    """

    dataset: IterableDataset
    skipped: list[Skipped] = field(default_factory=list)
    ids: list[str] | None = None
    labels: list[list[str]] | None = None
    texts: list[str | None] | None = None
    multi_label: bool = False
    find_groups: Callable[[], Groups] | None = None
    notes: tuple[str, ...] = ()
    version: int | None = None

    @property
    def num_pairs(self) -> int | None:
        return None if self.ids is None else len(self.ids)

    @property
    def fingerprint(self) -> int | None:
        """Equal as long as the same rows come in the same order; None where that cannot be known."""
        return self.version if self.ids is None else crc32("\n".join(self.ids).encode())

    def captions(self, most: int = 100_000) -> list[str]:
        """The first captions, to train a tokenizer on."""
        if self.texts is not None:
            return [text for text in self.texts[:most] if text]
        rows = islice(self.dataset.select_columns(["caption", "problem"]), most)
        return [row["caption"] for row in rows if row["problem"] is None and row["caption"]]

    def label_counts(self) -> dict[str, int]:
        """How many rows have each label: the most frequent first, equally frequent ones by name.

        Where the labels are not known otherwise, all rows are read once, without decoding their audio.
        """
        labels = self.labels
        if labels is None:
            rows = self.dataset.select_columns(["labels", "problem"])
            labels = [row["labels"] for row in rows if row["problem"] is None]
        counts = Counter(label for row in labels for label in row)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def hold_out(self, fraction: float) -> tuple["PairStream", "PairStream"]:
        """Splits it in two by recordings: whoever reads it in whatever order finds the same.

        All rows of a recording, of its exact copies, and with the same value of the group column are on one side.

        Args:
            fraction: of the groups that go into the second.

        Raises:
            DataError: one of the two would be empty.
        """
        drawn, rest = self._draw(fraction, salt="")
        parts = rest, replace(drawn, skipped=[], notes=())
        for part, use in zip(parts, ("train", "validate"), strict=True):
            if part.ids == []:
                raise DataError(
                    f"--validation_share {fraction} of {self.num_pairs} pairs leaves none to {use} on: pass "
                    "--validation_data, or another --validation_share"
                )
        return parts

    def take_fraction(self, fraction: float) -> "PairStream":
        """A part of it, chosen by recordings; a smaller part is contained in a larger one.

        Args:
            fraction: of the groups, over 0 and at most 1.

        Raises:
            DataError: nothing would be left.
        """
        if fraction == 1:
            return self
        part = self._draw(fraction, salt="share ")[0]
        if not 0 < fraction <= 1 or part.ids == []:
            raise DataError(
                f"--train_share {fraction} of {self.num_pairs} pairs leaves none to train on; expected a number over "
                "0 and at most 1"
            )
        return part

    def _draw(self, fraction: float, salt: str) -> tuple["PairStream", "PairStream"]:
        """A fraction of the groups, and the others."""
        if self.ids is None:
            draws = (partial(_is_drawn, fraction=fraction, salt=salt, expected=side) for side in (True, False))
            return tuple(replace(self, dataset=self.dataset.filter(draw, input_columns=["group"])) for draw in draws)
        groups = self.find_groups()
        ids = frozenset(
            name for name, group in zip(self.ids, groups.names, strict=True) if is_drawn(group, fraction, salt)
        )
        whole = replace(self, find_groups=partial(Groups, groups.names), notes=(*self.notes, *groups.notes))
        return whole.select(ids.__contains__), whole.select(partial(_is_outside, ids))

    def select(self, belongs: Callable[[str], bool]) -> "PairStream":
        """The rows whose ids belong; the function can be pickled."""
        kept = [belongs(name) for name in self.ids or ()]
        known = {"ids": self.ids, "labels": self.labels, "texts": self.texts}
        known = {name: None if values is None else list(compress(values, kept)) for name, values in known.items()}
        find_groups = self.find_groups and partial(_kept_groups, self.find_groups, kept)
        dataset = self.dataset.filter(belongs, input_columns=["id"])
        return replace(self, dataset=dataset, find_groups=find_groups, **known)


def _is_drawn(group: str, fraction: float, salt: str, expected: bool) -> bool:
    return is_drawn(group, fraction, salt) == expected


def _kept_groups(find: Callable[[], Groups], kept: list[bool]) -> Groups:
    return Groups(list(compress(find().names, kept)))


def _is_outside(names: frozenset[str], name: str) -> bool:
    return name not in names
