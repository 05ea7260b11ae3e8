"""Tags over time: the probability of each label in each chunk of a track, below its spectrogram."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..embedding import Embedder
from ..errors import DataError, ModelError
from ..files import markdown_table, printable
from ..loading import saved_kind
from ..modeling_mulap import MulapForAudioClassification
from ..pipeline_mulap import MulapAudioClassificationPipeline
from ..transfer.zero_shot import clean_label
from .data_split import DataSplit
from .drawing import draw_log_mel, save_picture, short
from .page import Illustration

_BATCH = 16  # chunks
_MAX_HORIZONTAL_TITLES = 15  # titles of more sections are vertical


@dataclass(frozen=True)
class Section:
    """A section of a track that was cut from one clip.

    Attributes:
        start, end: Start and end in seconds.
        clip: Id of the clip.
        title: Title of the section: the first label text of the clip.
        labels: The labels of the tagger that are true; None if the data does not have them.
    """

    start: float
    end: float
    clip: str
    title: str
    labels: frozenset[str] | None


@dataclass(frozen=True)
class Track:
    """The input of a tagger.

    Attributes:
        name: Name of the track.
        waveform: Mono waveform, `(samples,)`.
        sections: Sections of a track of concatenated clips; empty for an audio file.
    """

    name: str
    waveform: np.ndarray
    sections: tuple[Section, ...] = ()


class Tagger:
    """A classifier that returns the probability of each label over time.

    Args:
        model: Folder or Hub name of a `MulapForAudioClassification`.
        device: Device of the computation; None for a GPU if one is available, else the CPU.

    Raises:
        ModelError: The model cannot be found, or is not a classifier.
        DataError: The model is a regressor, which has no probabilities.
    """

    def __init__(self, model: str | Path, device: str | None = None):
        if saved_kind(model) != "classifier":
            raise ModelError(f"{model} is not a classifier; pass --tagger with a folder made by training/transfer.py")
        classifier = MulapForAudioClassification.from_pretrained(model)
        if classifier.config.problem_type == "regression":
            raise DataError(
                f"{model} predicts values ({', '.join(classifier.config.label2id)}), not probabilities of labels; "
                "pass --tagger with a classifier"
            )
        self.embedder = Embedder(classifier.audio_model, device)
        self.head = classifier.to(self.embedder.device).classifier
        self.kind = (
            "single_label" if classifier.config.problem_type == "single_label_classification" else "multi_label"
        )
        self.labels = [classifier.config.id2label[index] for index in range(classifier.config.num_labels)]
        self._pipeline = MulapAudioClassificationPipeline(
            model=classifier, feature_extractor=self.embedder.feature_extractor, device=self.embedder.device
        )

    @property
    def sampling_rate(self) -> int:
        return self.embedder.sampling_rate

    @property
    def chunk_seconds(self) -> float:
        return self.embedder.model.config.chunk_seconds

    def curves(self, waveform: np.ndarray, hop_seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the probabilities of all labels in the chunks of a waveform.

        Args:
            waveform: Mono waveform, `(samples,)`.
            hop_seconds: Time between the starts of consecutive chunks, in seconds.

        Returns:
            The centers of the chunks in seconds, `(chunks,)`, and the probabilities, `(chunks, labels)`.
        """
        length, hop = self.embedder.model.config.chunk_length, max(1, round(hop_seconds * self.sampling_rate))
        starts = np.arange(0, max(1, len(waveform) - length + 1), hop)
        outputs = self._pipeline([waveform[start : start + length] for start in starts], batch_size=_BATCH)
        scores = [{entry["label"]: entry["score"] for entry in chunk} for chunk in outputs]
        return (
            starts / self.sampling_rate + min(length, len(waveform)) / self.sampling_rate / 2,
            np.array([[chunk[label] for label in self.labels] for chunk in scores]),
        )


def join_clips(
    split: DataSplit, labels: Sequence[str], rate: int, seconds: float, section_seconds: float, seed: int
) -> Track:
    """Concatenate clips of a split, in random order, to one track whose labels over time are known.

    The labels of a section are those of the smallest task that has all labels of the tagger, if there is one.

    Args:
        split: The split.
        labels: Labels of the tagger.
        rate: Sampling rate of the track in Hz.
        seconds: Length of the track in seconds; the last section may exceed it.
        section_seconds: Longest excerpt of a clip, from its start, in seconds.
        seed: Random seed of the order.

    Raises:
        DataError: No clip can be decoded.
    """
    labeled = [task for task in split.tasks if set(labels) <= set(task.classes)]
    task = min(labeled, key=lambda task: len(task.classes), default=None)
    clips = split.data.ids(split.split) if task is None else list(split.truth(task))
    parts, sections, end = [], [], 0.0
    remaining = np.random.default_rng(seed).permutation(clips).tolist()
    batch_size = math.ceil(seconds / section_seconds)  # enough unless clips are short or cannot be decoded
    while end < seconds and remaining:
        batch, remaining = remaining[:batch_size], remaining[batch_size:]
        waveforms = split.waveforms(batch, rate)
        for clip in filter(waveforms.__contains__, batch):
            if end >= seconds:
                break
            parts.append(waveforms[clip][: round(section_seconds * rate)])
            start, end = end, end + len(parts[-1]) / rate
            true = None if task is None else frozenset(split.classes_of(task, clip))
            sections.append(Section(start, end, clip, next(iter(split.labels(clip)), ""), true))
    if not parts:
        raise DataError(f"{split.data.folder}: no clip of {split.split} can be decoded; check the audio of the split")
    name = f"{len(sections)} concatenated clips of {split.split}"
    return Track(name, np.concatenate(parts), tuple(sections))


def illustrate_tags(tagger: Tagger, track: Track, folder: Path, hop_seconds: float, num_tags: int) -> Illustration:
    """Draw the probabilities of labels over a track to `tags.png`.

    Args:
        tagger: The classifier.
        track: Its input.
        folder: Folder of the picture.
        hop_seconds: Time between the starts of consecutive chunks, in seconds.
        num_tags: Number of labels to draw: those with the highest probability in any chunk.
    """
    times, scores = tagger.curves(track.waveform, hop_seconds)
    top = np.argsort(-scores.max(axis=0), kind="stable")[:num_tags]
    _draw(tagger, track, times, scores, top, folder / "tags.png")
    numbers = {
        "track": track.name,
        "chunk_seconds": tagger.chunk_seconds,
        "hop_seconds": hop_seconds,
        "times": times.tolist(),
        "probabilities": {label: scores[:, index].round(4).tolist() for index, label in enumerate(tagger.labels)},
        "drawn": [tagger.labels[index] for index in top],
        "sections": [
            {
                "start": section.start,
                "end": section.end,
                "clip": section.clip,
                "labels": None if section.labels is None else sorted(section.labels),
            }
            for section in track.sections
        ],
    }
    labeled = any(section.labels is not None for section in track.sections)
    explanation = (
        f"The picture shows the {len(top)} labels with the highest probability in any chunk. Chunks have "
        f"{tagger.chunk_seconds:g} s and start every {hop_seconds:g} s; each is drawn at its center."
    )
    if labeled:
        explanation += (
            " The track consists of concatenated clips (dotted lines). Shading marks where a label is true. A chunk "
            "across a boundary contains both clips, so that a curve takes the length of a chunk to change."
        )
    picture = "![probability of each label over time, below the spectrogram](tags.png)"
    return Illustration(
        "Tags over a track",
        f"{_table(tagger, track, times, scores, top)}\n\n{picture}\n\n{explanation}",
        f"{len(top)} labels over {len(track.waveform) / tagger.sampling_rate:.0f} s: {printable(track.name)}",
        ["tags.png"],
        numbers,
    )


def _table(tagger: Tagger, track: Track, times: np.ndarray, scores: np.ndarray, top: Sequence[int]) -> str:
    """Return a table of the drawn labels: largest probability, and mean probability where the label is true or not."""
    known = [section for section in track.sections if section.labels is not None]
    rows = []
    for index in top:
        label, curve = tagger.labels[index], scores[:, index]
        row = [label, f"{curve.max():.2f}"]
        if known:
            true = _is_true(label, times, known)
            row += [_mean(curve[true]), _mean(curve[~true])]
        rows.append(row)
    header = ("label", "largest probability", *(("mean where true", "mean where not true") if known else ()))
    return markdown_table(header, rows)


def _is_true(label: str, times: np.ndarray, sections: Sequence[Section]) -> np.ndarray:
    """Return whether the label is true at each time: `(chunks,)`, bool."""
    return np.any([(s.start <= times) & (times < s.end) & (label in s.labels) for s in sections], axis=0)


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():.2f}" if len(values) else "no chunk"


def _draw(
    tagger: Tagger,
    track: Track,
    times: np.ndarray,
    scores: np.ndarray,
    top: Sequence[int],
    path: Path,
):
    """Draw the spectrogram, and below it the curve of each label over the same time axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 2.4 + 0.75 * len(top)), layout="constrained")
    panels = figure.subplots(
        1 + len(top), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [2.2, *[1] * len(top)]}
    )[:, 0]
    draw_log_mel(panels[0], tagger.embedder.model, track.waveform)
    panels[0].set_ylabel("kHz")
    for section in track.sections:
        middle = (section.start + section.end) / 2
        panels[0].annotate(
            "\n".join(map(short, section.title.split(" · "))),
            (middle, 1),
            (0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize="small",
            rotation=0 if len(track.sections) <= _MAX_HORIZONTAL_TITLES else 90,
            parse_math=False,
        )
    for axes, index in zip(panels[1:], top, strict=True):
        name = tagger.labels[index]
        axes.plot(times, scores[:, index], color="C0", marker=".", markersize=4)
        for section in track.sections:
            if section.labels is not None and name in section.labels:
                axes.axvspan(section.start, section.end, color="C2", alpha=0.25, linewidth=0)
        axes.set(ylim=(-0.05, 1.05), yticks=(0, 1))
        axes.set_ylabel(short(clean_label(name)), rotation=0, ha="right", va="center", parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels:
        for section in track.sections[1:]:
            axes.axvline(section.start, color="0.3" if axes is not panels[0] else "white", linestyle=":", linewidth=1)
    known = any(section.labels is not None for section in track.sections)
    panels[-1].set_xlabel("time (s)" + ("; shaded where the label is true" if known else ""))
    save_picture(figure, path, palette=True)
