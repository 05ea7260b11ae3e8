"""What a tagger says over time: the probability of each label, chunk by chunk, under the spectrogram of a track."""

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
from .drawing import draw_log_mel, save_picture, short
from .material import Illustration, Material

_BATCH = 16  # chunks
_MOST_TITLES = 15  # of sections that have room side by side


@dataclass(frozen=True)
class Section:
    """A part of a track.

    start, end: in seconds.
    clip: id of the clip that it is taken from.
    title: what the data says of it, in short.
    labels: of the tagger, those that are true there; None: nobody knows.
    """

    start: float
    end: float
    clip: str
    title: str
    labels: frozenset[str] | None


@dataclass(frozen=True)
class Track:
    """What a tagger listens to.

    name: of it.
    waveform: mono, `(samples,)`.
    sections: where it is known what is in it; none of a file.
    """

    name: str
    waveform: np.ndarray
    sections: tuple[Section, ...] = ()


class Tagger:
    """A classifier and its probabilities.

    Args:
        model: folder or Hub name.
        device: where to compute; default: the GPU if there is one.

    Raises:
        ModelError: it cannot be found, or is no classifier.
        DataError: it regresses values, and has no probabilities.
    """

    def __init__(self, model: str | Path, device: str | None = None):
        if saved_kind(model) != "classifier":
            raise ModelError(f"{model} is no classifier: pass --tagger with a folder made by training/transfer.py")
        classifier = MulapForAudioClassification.from_pretrained(model)
        if classifier.config.problem_type == "regression":
            raise DataError(
                f"{model} tells values ({', '.join(classifier.config.label2id)}), not probabilities of labels"
            )
        self.embedder = Embedder(classifier.audio_model, device)
        classifier.to(self.embedder.device)
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
        """Middles of chunks that start every so many seconds, `(chunks,)`; probabilities, `(chunks, labels)`."""
        length, hop = self.embedder.model.config.chunk_length, max(1, round(hop_seconds * self.sampling_rate))
        starts = np.arange(0, max(1, len(waveform) - length + 1), hop)
        said = self._pipeline([waveform[start : start + length] for start in starts], batch_size=_BATCH)
        by_label = [{entry["label"]: entry["score"] for entry in chunk} for chunk in said]
        return (
            starts / self.sampling_rate + min(length, len(waveform)) / self.sampling_rate / 2,
            np.array([[chunk[label] for label in self.labels] for chunk in by_label]),
        )


def join_clips(
    material: Material, labels: Sequence[str], rate: int, seconds: float, section_seconds: float, seed: int
) -> Track:
    """Clips of a split in random order, cut and joined to one track, of which it is known what is where.

    Args:
        material: the clips.
        labels: of the tagger; the truth is that of the task that has them as classes, if there is one.
        rate: of the track, in Hz.
        seconds: its length; the last clip is finished.
        section_seconds: most that is taken of a clip, from its start.
        seed: of the order.

    Raises:
        DataError: no clip can be heard.
    """
    telling = [task for task in material.tasks if set(labels) <= set(task.classes)]
    task = min(telling, key=lambda task: len(task.classes), default=None)
    clips = material.data.ids(material.split) if task is None else list(material.truth(task))
    parts, sections, end = [], [], 0.0
    order = np.random.default_rng(seed).permutation(clips).tolist()
    number = math.ceil(seconds / section_seconds)  # are enough, unless some are shorter or cannot be heard
    while end < seconds and order:
        few, order = order[:number], order[number:]
        waveforms = material.waveforms(few, rate)
        for clip in filter(waveforms.__contains__, few):
            if end >= seconds:
                break
            parts.append(waveforms[clip][: round(section_seconds * rate)])
            start, end = end, end + len(parts[-1]) / rate
            true = None if task is None else frozenset(material.classes_of(task, clip))
            sections.append(Section(start, end, clip, next(iter(material.labels(clip)), ""), true))
    if not parts:
        raise DataError(f"{material.data.folder}: no clip of {material.split} can be heard")
    name = f"{len(sections)} clips of {material.split}, one after another"
    return Track(name, np.concatenate(parts), tuple(sections))


def illustrate_tags(tagger: Tagger, track: Track, folder: Path, hop_seconds: float, num_tags: int) -> Illustration:
    """Draws `tags.png`.

    Args:
        tagger: says what is in a chunk.
        track: what it listens to.
        folder: of the picture.
        hop_seconds: from chunk to chunk.
        num_tags: curves that are drawn: of the labels with the highest peaks.
    """
    times, scores = tagger.curves(track.waveform, hop_seconds)
    top = np.argsort(-scores.max(axis=0), kind="stable")[:num_tags]
    known = [section for section in track.sections if section.labels is not None]
    inside = {label: _is_true(label, times, known) for label in tagger.labels} if known else {}
    _draw(tagger, track, times, scores, top, folder / "tags.png")
    rows = []
    for index in top:
        label, curve = tagger.labels[index], scores[:, index]
        true = inside.get(label)
        means = [""] * 2 if true is None else [_mean(curve[true]), _mean(curve[~true])]
        rows.append((label, f"{curve.max():.2f}", *means))
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
    explained = (
        f"Probability of each label in chunks of {tagger.chunk_seconds:g} s, one every {hop_seconds:g} s, drawn at "
        f"their middles; the {len(top)} labels with the highest peaks."
    )
    if known:
        explained += (
            " The track is made of clips, so that it is known what changes when (dotted lines); where a label is "
            "true, its strip is shaded. A chunk across a change hears both sides, so a curve takes a chunk's length "
            "to turn."
        )
    table = markdown_table(("label", "highest", "mean where it is true", "mean where it is not"), rows)
    return Illustration(
        "Tags over a track",
        f"{explained}\n\n![probabilities of labels over time, under the spectrogram](tags.png)\n\n{table}",
        f"{len(top)} curves over {len(track.waveform) / tagger.sampling_rate:.0f} s: {printable(track.name)}",
        ["tags.png"],
        numbers,
    )


def _is_true(label: str, times: np.ndarray, sections: Sequence[Section]) -> np.ndarray:
    """At which times, `(chunks,)`, bool."""
    return np.any([(s.start <= times) & (times < s.end) & (label in s.labels) for s in sections], axis=0)


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():.2f}" if len(values) else "nowhere"


def _draw(
    tagger: Tagger,
    track: Track,
    times: np.ndarray,
    scores: np.ndarray,
    top: Sequence[int],
    path: Path,
):
    """The spectrogram, and a strip per label below it, over one axis of time."""
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
            rotation=0 if len(track.sections) <= _MOST_TITLES else 90,
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
    panels[-1].set_xlabel("seconds" + ("; shaded: the label is true" if known else ""))
    save_picture(figure, path, palette=True)
