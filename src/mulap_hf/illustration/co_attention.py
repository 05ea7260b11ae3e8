"""Co-attention of one clip and its description: weights from words to chunks, and from chunks to words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import DataError
from ..files import markdown_table, printable
from ..transfer.pair_scores import MATCHING, PairScorer
from .data_split import DataSplit
from .drawing import draw_log_mel, save_picture, short
from .page import Illustration

_GLOBAL = "whole clip"  # the first token of the audio stream
_START, _END = "(start)", "(end)"  # the special tokens of the text
_MAX_CANDIDATES = 20  # clips to try until one can be decoded
_MAX_WORDS, _MAX_TICKS = 64, 10  # in the picture


@dataclass(frozen=True)
class CoAttention:
    """Attention weights of a clip and a text, averaged over the heads, for each connection.

    A connection is a pair of co-attention layers, one per direction.

    Attributes:
        words: Words of the text, including the start and end tokens.
        times: Start and end of each chunk in seconds. The global token, the first of the audio stream, has none.
        text_to_audio: Weights `(connections, words, 1 + chunks)`, which sum to 1 over the chunks and the global token.
        audio_to_text: Weights `(connections, 1 + chunks, words)`, which sum to 1 over the words.
        log_odds: Log-odds of the model that the text describes the clip.
    """

    words: list[str]
    times: list[tuple[float, float]]
    text_to_audio: np.ndarray
    audio_to_text: np.ndarray
    log_odds: float

    @property
    def spans(self) -> list[str]:
        """Labels of the tokens of the audio stream: the global token and the time span of each chunk."""
        return [_GLOBAL, *(f"{start:g} to {end:g} s" for start, end in self.times)]


@torch.inference_mode()
def co_attention(scorer: PairScorer, waveform: np.ndarray, text: str) -> CoAttention:
    """Return the attention weights of a clip and a text.

    Weights are aggregated from tokens to words: averaged over the tokens of a query word, summed over the tokens of a
    key word.

    Args:
        scorer: The model.
        waveform: Mono waveform, `(samples,)`; cut to the longest input of the model.
        text: The text.

    Raises:
        DataError: The model is a dual encoder, which has no co-attention.
    """
    if scorer.model.is_dual_encoder:
        raise DataError(f"{scorer.name} has no co-attention, because it is a dual encoder; pass a model with fusion")
    audio = scorer.model.config.audio_config
    longest = (audio.max_position_embeddings - 1) * audio.chunk_length
    inputs = scorer.processor(text=text, audio=waveform[:longest], sampling_rate=scorer.extractor.sampling_rate)
    implementation = scorer.model.config._attn_implementation
    scorer.model.set_attn_implementation({"": "eager"})  # the only implementation that returns weights
    output = scorer.model(**inputs.to(scorer.device), return_logits=False, output_attentions=True)
    scorer.model.set_attn_implementation({"": implementation})
    words, word_of_token = _words(scorer, text)
    membership = np.equal.outer(np.arange(len(words)), word_of_token)  # (words, tokens)

    def mean_over_heads(weights: tuple[torch.Tensor, ...]) -> np.ndarray:
        return torch.cat(weights).mean(dim=1).float().cpu().numpy()  # (connections, queries, keys)

    mean_over_tokens = membership / membership.sum(axis=1, keepdims=True)
    mismatched, matched = output.matching_logits[0].flip(0).tolist()
    chunks = int(output.chunk_mask.sum())
    return CoAttention(
        words,
        [(index * audio.chunk_seconds, (index + 1) * audio.chunk_seconds) for index in range(chunks)],
        mean_over_tokens @ mean_over_heads(output.text_to_audio_attentions),
        mean_over_heads(output.audio_to_text_attentions) @ membership.T,
        matched - mismatched,
    )


def _words(scorer: PairScorer, text: str) -> tuple[list[str], np.ndarray]:
    """Return the words of a text as the tokenizer splits them, and the index of the word of each token."""
    tokens = scorer.processor.tokenizer(text, truncation=True)
    words, word_of_token, last = [], [], None
    for index, word in enumerate(tokens.word_ids()):
        if word is None or word != last:
            span = None if word is None else tokens.word_to_chars(word)
            marker = _END if index else _START
            words.append(marker if span is None else text[span.start : span.end])
        word_of_token.append(len(words) - 1)
        last = word
    return words, np.array(word_of_token)


def illustrate_attention(
    scorer: PairScorer, split: DataSplit, folder: Path, example: str | None, seed: int
) -> Illustration:
    """Draw the co-attention of one clip and its description to `attention.png`.

    Args:
        scorer: The model.
        split: A split with descriptions.
        folder: Folder of the picture.
        example: Id of the clip; None for a random one.
        seed: Random seed of the choice.

    Raises:
        DataError: The model has no co-attention, the split has no descriptions, no clip has the id `example`, or the
            clip cannot be decoded.
    """
    captions = split.data.captions(split.split)
    clip, waveform = _choose_clip(scorer, split, captions, example, seed)
    weights = co_attention(scorer, waveform, captions[clip])
    _draw(scorer, waveform, weights, folder / "attention.png")
    labels = "; ".join(split.labels(clip))
    trained = "" if MATCHING in scorer.kinds else " (an output that this model was not trained for)"
    text = [
        f"Clip: {clip}, {'chosen at random' if example is None else 'chosen by `--example`'}.",
        f"Description: “{printable(captions[clip])}”" + (f" Labels: {printable(labels)}." if labels else ""),
        f"Log-odds of the model that the description matches the clip{trained}: {weights.log_odds:+.2f}.",
        "![attention weights between words and chunks, below the spectrogram](attention.png)",
        "* Weights are averaged over the attention heads.\n"
        "* Upper maps: the weights of each word over the chunks and the whole clip. Each row sums to 1.\n"
        "* Lower maps: the weights of each chunk, and of the whole clip, over the words. Each column sums to 1.\n"
        "* Attention weights show where a layer reads from. They do not explain the decision of the model.",
        _largest_weights(weights),
    ]
    return Illustration(
        "Co-attention between words and chunks",
        "\n\n".join(text),
        f"clip {clip}: {len(weights.words)} words and special tokens, {len(weights.times)} chunks, "
        f"{len(weights.text_to_audio)} connections; log-odds of a match {weights.log_odds:+.2f}",
        ["attention.png"],
        {
            "clip": clip,
            "description": captions[clip],
            "words": weights.words,
            "chunks": [_GLOBAL, *weights.times],
            "text_to_audio": weights.text_to_audio.round(5).tolist(),
            "audio_to_text": weights.audio_to_text.round(5).tolist(),
            "log_odds": weights.log_odds,
        },
    )


def _choose_clip(
    scorer: PairScorer, split: DataSplit, captions: dict[str, str], example: str | None, seed: int
) -> tuple[str, np.ndarray]:
    """Return the id and the waveform of the example, or of a random clip that can be decoded."""
    if example is None:
        candidates = np.random.default_rng(seed).permutation(sorted(captions))[:_MAX_CANDIDATES].tolist()
    elif example in captions:
        candidates = [example]
    else:
        raise DataError(
            f"--example {example}: no clip of {split.split} with a description has this id; pass the id of such a clip"
        )
    waveforms = split.waveforms(candidates, scorer.extractor.sampling_rate)
    if not waveforms:
        raise DataError(
            f"{split.data.folder}: {', '.join(candidates)}: cannot be decoded; check the audio of these clips"
        )
    clip = next(clip for clip in candidates if clip in waveforms)
    return clip, waveforms[clip]


def _largest_weights(weights: CoAttention) -> str:
    """Return a table of the largest weight of each connection and direction, beside uniform attention."""
    rows = []
    for number, (to_audio, to_text) in enumerate(
        zip(weights.text_to_audio, weights.audio_to_text, strict=True), start=1
    ):
        for direction, matrix, queries, keys in (
            ("words to chunks", to_audio, weights.words, weights.spans),
            ("chunks to words", to_text, weights.spans, weights.words),
        ):
            query, key = np.unravel_index(matrix.argmax(), matrix.shape)
            largest = f"{queries[query]} → {keys[key]}"
            rows.append((number, direction, f"{matrix.max():.2f}", f"{1 / len(keys):.2f}", largest))
    return markdown_table(("connection", "direction", "largest weight", "uniform attention", "from → to"), rows)


def _draw(scorer: PairScorer, waveform: np.ndarray, weights: CoAttention, path: Path):
    """Draw a column per connection: the spectrogram, and below it the weights of both directions.

    All panels have the same time axis. The column of the whole clip is at the left of time 0.
    """
    from matplotlib.figure import Figure

    connections = len(weights.text_to_audio)
    end = weights.times[-1][1]
    global_width = end / len(weights.times) / 2
    words = [short(word) for word in weights.words[:_MAX_WORDS]]
    height = 0.22 * len(words) + 0.7
    figure = Figure(figsize=(5.4 * connections + 1, 2 + 2 * height), layout="constrained")
    panels = figure.subplots(
        3, connections, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [1.8, height, height]}
    )
    edges = [-global_width, *(start for start, _ in weights.times), end]
    directions = (
        ("words → chunks", weights.text_to_audio, 1 / (1 + len(weights.times))),
        ("chunks → words", weights.audio_to_text.transpose(0, 2, 1), 1 / len(weights.words)),
    )  # weights are (connections, words, 1 + chunks) in both
    for column in range(connections):
        draw_log_mel(panels[0, column], scorer.extractor.model, waveform)
        panels[0, column].set_title(f"connection {column + 1}")
        panels[0, column].set_ylabel("kHz")
        for row, (title, matrices, uniform) in zip(panels[1:], directions, strict=True):
            image = _draw_weights(row[column], edges, words, matrices[column], matrices.max(), title)
            if column == connections - 1:
                bar = figure.colorbar(image, ax=row, label="weight (red: uniform)")
                bar.ax.axhline(uniform, color="red", linewidth=2)
        ticks = edges[1 :: -(-len(weights.times) // _MAX_TICKS)]
        panels[-1, column].set_xticks([-global_width / 2, *ticks], ["whole\nclip", *(f"{tick:g}" for tick in ticks)])
        panels[-1, column].set_xlabel("time (s)")
        panels[0, column].set_xlim(-global_width, end)
    save_picture(figure, path)


def _draw_weights(axes, edges: Sequence[float], words: Sequence[str], matrix: np.ndarray, largest: float, title: str):
    """Draw weights `(words, 1 + chunks)` as a map of words over time; return the image for a color bar."""
    rows = np.arange(len(words) + 1) - 0.5
    image = axes.pcolormesh(edges, rows, matrix[: len(words)], cmap="viridis", vmin=0, vmax=largest)
    axes.set_title(title, fontsize="medium")
    axes.set_yticks(range(len(words)), words, parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color="white", linewidth=3)
    return image
