"""Co-attention of one clip and its description: which chunks the words look at, and which words the chunks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import DataError
from ..files import markdown_table, printable
from ..transfer.pair_scores import MATCHING, PairScorer
from .drawing import draw_log_mel, save_picture, short
from .material import Illustration, Material

_GLOBAL = "whole clip"
_START, _END = "(start)", "(end)"
_DRAWN = 20  # clips, in case that the first cannot be heard
_MOST_WORDS, _MOST_TICKS = 64, 10  # that are drawn


@dataclass(frozen=True)
class CoAttention:
    """Weights of one pair, a mean over the heads, per connection.

    words: of the description, between the tokens that mark its start and end.
    times: start and end of each chunk, in seconds; the audio's first token, the whole clip, has none.
    text_to_audio: `(connections, words, 1 + chunks)`, each word's sum to 1.
    audio_to_text: `(connections, 1 + chunks, words)`, each chunk's sum to 1.
    log_odds: that they match.
    """

    words: list[str]
    times: list[tuple[float, float]]
    text_to_audio: np.ndarray
    audio_to_text: np.ndarray
    log_odds: float


@torch.inference_mode()
def co_attention(scorer: PairScorer, waveform: np.ndarray, text: str) -> CoAttention:
    """The attention weights of a clip and a text.

    A word of several tokens asks as the mean of them, and is asked as their sum.

    Args:
        scorer: the model.
        waveform: mono, `(samples,)`.
        text: what to read.

    Raises:
        DataError: the model is a dual encoder.
    """
    if scorer.model.is_dual_encoder:
        raise DataError(f"{scorer.name} has no co-attention (it is a dual encoder)")
    audio = scorer.model.config.audio_config
    longest = (audio.max_position_embeddings - 1) * audio.chunk_length
    inputs = scorer.processor(text=text, audio=waveform[:longest], sampling_rate=scorer.extractor.sampling_rate)
    usual = scorer.model.config._attn_implementation
    scorer.model.set_attn_implementation({"": "eager"})  # the one that returns weights
    output = scorer.model(**inputs.to(scorer.device), return_logits=False, output_attentions=True)
    scorer.model.set_attn_implementation({"": usual})
    words, owners = _words(scorer, text)
    belongs = np.equal.outer(np.arange(len(words)), owners)  # (words, tokens)

    def mean_over_heads(weights: tuple[torch.Tensor, ...]) -> np.ndarray:
        return torch.cat(weights).mean(dim=1).float().cpu().numpy()  # (connections, queries, keys)

    asked = belongs / belongs.sum(axis=1, keepdims=True)
    mismatched, matched = output.matching_logits[0].flip(0).tolist()
    chunks = int(output.chunk_mask.sum())
    return CoAttention(
        words,
        [(index * audio.chunk_seconds, (index + 1) * audio.chunk_seconds) for index in range(chunks)],
        asked @ mean_over_heads(output.text_to_audio_attentions),
        mean_over_heads(output.audio_to_text_attentions) @ belongs.T,
        matched - mismatched,
    )


def _words(scorer: PairScorer, text: str) -> tuple[list[str], np.ndarray]:
    """The words of a text as the tokenizer cuts them, and which of them each token is of."""
    tokens = scorer.processor.tokenizer(text, truncation=True)
    words, owners, last = [], [], None
    for index, word in enumerate(tokens.word_ids()):
        if word is None or word != last:
            span = None if word is None else tokens.word_to_chars(word)
            marker = _END if index else _START
            words.append(marker if span is None else text[span.start : span.end])
        owners.append(len(words) - 1)
        last = word
    return words, np.array(owners)


def illustrate_attention(
    scorer: PairScorer, material: Material, folder: Path, example: str | None, seed: int
) -> Illustration:
    """Draws `attention.png`.

    Args:
        scorer: the model.
        material: has descriptions.
        folder: of the picture.
        example: id of the clip; None: drawn by lot.
        seed: of the draw.

    Raises:
        DataError: the model has no co-attention, or there is no such clip with a description that can be
            heard.
    """
    captions = material.data.captions(material.split)
    drawn = example is None
    if drawn:
        candidates = np.random.default_rng(seed).permutation(sorted(captions))[:_DRAWN].tolist()
    elif example in captions:
        candidates = [example]
    else:
        raise DataError(f"--example {example}: no clip of {material.split} with a description has this id")
    waveforms = material.waveforms(candidates, scorer.extractor.sampling_rate)
    if not waveforms:
        raise DataError(f"{material.data.folder}: {', '.join(candidates)}: cannot be heard")
    example = next(clip for clip in candidates if clip in waveforms)
    waveform = waveforms[example]
    found = co_attention(scorer, waveform, captions[example])
    _draw(scorer, waveform, found, folder / "attention.png")
    even_chunk, even_word = 1 / (1 + len(found.times)), 1 / len(found.words)
    rows = [
        (
            number,
            f"{words.max():.2f} ({even_chunk:.2f})",
            _strongest(words, found.words, [_GLOBAL, *map(_span, found.times)]),
            f"{chunks.max():.2f} ({even_word:.2f})",
            _strongest(chunks, [_GLOBAL, *map(_span, found.times)], found.words),
        )
        for number, (words, chunks) in enumerate(zip(found.text_to_audio, found.audio_to_text, strict=True), start=1)
    ]
    header = ("connection", "largest, words to chunks (even)", "which", "largest, chunks to words (even)", "which")
    truth = "; ".join(material.labels(example))
    trained = "" if MATCHING in scorer.kinds else " (which the model was not trained for)"
    text = [
        f"The clip {example}, {'drawn by lot' if drawn else 'as asked for'}, and its description "
        f"“{printable(captions[example])}”{f' (the truth: {printable(truth)})' if truth else ''}. The log-odds of the "
        f"pair to match{trained} are {found.log_odds:+.2f}. Weights are means over the heads. Upper maps: a "
        "word's weights over the chunks and the whole clip, which sum to 1 along a row. Lower maps: a chunk's weights "
        "over the words, which sum to 1 down a column. Weights tell where a layer looks, not why the model decides as "
        "it does.",
        "![attention between words and chunks, under the spectrogram](attention.png)",
        markdown_table(header, rows),
    ]
    return Illustration(
        "Co-attention over words and chunks",
        "\n\n".join(text),
        f"{example}; words and marks: {len(found.words)}, chunks: {len(found.times)}, connections: "
        f"{len(found.text_to_audio)}",
        ["attention.png"],
        {
            "clip": example,
            "description": captions[example],
            "words": found.words,
            "chunks": [_GLOBAL, *found.times],
            "text_to_audio": found.text_to_audio.round(5).tolist(),
            "audio_to_text": found.audio_to_text.round(5).tolist(),
            "log_odds": found.log_odds,
        },
    )


def _span(times: tuple[float, float]) -> str:
    return f"{times[0]:g} to {times[1]:g} s"


def _strongest(weights: np.ndarray, queries: list[str], keys: list[str]) -> str:
    query, key = np.unravel_index(weights.argmax(), weights.shape)
    return f"{queries[query]} → {keys[key]}"


def _draw(scorer: PairScorer, waveform: np.ndarray, found: CoAttention, path: Path):
    """Spectrograms over maps that share their axis of time; the whole clip is a column at its left."""
    from matplotlib.figure import Figure

    connections = len(found.text_to_audio)
    end = found.times[-1][1]
    wide = end / len(found.times) / 2  # the whole clip's column
    words = [short(word) for word in found.words[:_MOST_WORDS]]
    height = 0.22 * len(words) + 0.7
    figure = Figure(figsize=(5.4 * connections + 1, 2 + 2 * height), layout="constrained")
    panels = figure.subplots(
        3, connections, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [1.8, height, height]}
    )
    edges = [-wide, *(start for start, _ in found.times), end]
    directions = (
        ("words → chunks", found.text_to_audio, 1 / (1 + len(found.times))),
        ("chunks → words", found.audio_to_text.transpose(0, 2, 1), 1 / len(found.words)),
    )  # both (connections, words, 1 + chunks)
    for column in range(connections):
        draw_log_mel(panels[0, column], scorer.extractor.model, waveform)
        panels[0, column].set_title(f"connection {column + 1}")
        panels[0, column].set_ylabel("kHz")
        for row, (title, weights, even) in zip(panels[1:], directions, strict=True):
            axes = row[column]
            rows = np.arange(len(words) + 1) - 0.5
            image = axes.pcolormesh(
                edges, rows, weights[column, : len(words)], cmap="viridis", vmin=0, vmax=weights.max()
            )
            axes.set_title(title, fontsize="medium")
            axes.set_yticks(range(len(words)), words, parse_math=False)
            axes.invert_yaxis()
            axes.axvline(0, color="white", linewidth=3)
            if column == connections - 1:
                bar = figure.colorbar(image, ax=row, label="weight; red: even")
                bar.ax.axhline(even, color="red", linewidth=2)
        ticks = edges[1 :: -(-len(found.times) // _MOST_TICKS)]
        panels[-1, column].set_xticks([-wide / 2, *ticks], ["whole\nclip", *(f"{tick:g}" for tick in ticks)])
        panels[-1, column].set_xlabel("seconds")
        panels[0, column].set_xlim(-wide, end)
    save_picture(figure, path)
