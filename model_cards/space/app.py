"""A demo of a MuLaP model and a tagger in the browser. Its settings are environment variables:

MULAP_MODEL: Hub name or folder of a model of audio and text.
MULAP_TAGGER: Hub name or folder of a tagger or classifier.
MULAP_LIBRARY: folder of clips to compare with; default: `library/` beside this file.
"""

import html
import os
from pathlib import Path
from urllib.parse import quote

try:
    from mulap_hf.search import page  # in a clone
except ImportError:
    import page  # as it is published: beside this file

import gradio as gr
import numpy as np
import pandas as pd
import soundfile as sf
from transformers import pipeline

MAX_SECONDS = 600
RATES = range(1_000, 192_001)  # Hz
MAX_LABELS = 50
TOP_TAGS, NEIGHBORS = 10, 3
CURVES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00")  # distinct for the color-blind (Okabe and Ito)


def read_audio(path: str | Path | None) -> dict:
    """An audio file as the pipelines take it: `raw`, mono float32 `(samples,)`, and `sampling_rate` in Hz.

    The file is decoded block by block up to the limit, whatever its header says: a small file can contain hours.

    Raises:
        gr.Error: there is no file, or it is too large, too long, empty, broken or not audio.
    """
    if path is None:
        raise page.refusal("There is no audio yet: upload or record some, and wait until the upload is complete.")
    if os.path.getsize(path) > page.MAX_MEGABYTES * 2**20:
        raise page.refusal(f"This file is too large: the limit is {page.MAX_MEGABYTES} MB.")
    blocks, samples = [], 0
    try:
        with sf.SoundFile(path) as file:
            rate = file.samplerate
            if rate not in RATES:
                raise page.refusal(
                    f"This audio has {rate} samples per second: it must have {RATES[0]} to {RATES[-1]}."
                )
            for block in file.blocks(1 << 14, dtype="float32", always_2d=True):  # (samples, channels)
                samples += len(block)
                if samples > MAX_SECONDS * rate:
                    raise page.refusal(f"This audio is too long: the limit is {MAX_SECONDS // 60} minutes.")
                blocks.append(block.mean(axis=1))
    except sf.SoundFileError as error:
        raise page.refusal(page.NO_AUDIO) from error
    if not samples:
        raise page.refusal("This file contains no audio.")
    waveform = np.concatenate(blocks)
    if not np.isfinite(waveform).all():
        raise page.refusal("This file is broken: some of its samples are not numbers.")
    return {"raw": waveform, "sampling_rate": rate}


def read_labels(text: str) -> list[str]:
    """Comma-separated labels, each once.

    Raises:
        gr.Error: there are fewer than two labels, or too many.
    """
    labels = list(dict.fromkeys(filter(None, (label.strip() for label in text.split(",")))))
    if len(labels) < 2:
        raise page.refusal("Write at least two labels, separated by commas: calm piano, loud rock")
    if len(labels) > MAX_LABELS:
        raise page.refusal(f"These are {len(labels)} labels: the limit is {MAX_LABELS}.")
    return labels


def similarities(embedding: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Cosine similarities `(others,)` of `(features,)` to each of `(others, features)`, all minus the others' mean.

    Without that, all clips would be similar, because all music has much in common.
    """
    center = others.mean(axis=0)
    embedding, others = embedding - center, others - center
    lengths = np.linalg.norm(embedding) * np.linalg.norm(others, axis=1)
    return others @ embedding / np.maximum(lengths, 1e-9)


def curves(chunks: list[dict]) -> pd.DataFrame:
    """Scores of the tagger per chunk, as steps: `seconds`, `tag` and `score` at the start and end of each chunk."""
    return pd.DataFrame(
        {"seconds": chunk[end], "tag": tag, "score": score}
        for chunk in chunks
        for tag, score in chunk["scores"].items()
        for end in ("start", "end")
    )


def legend(colors: dict[str, str]) -> str:
    """HTML of the tags with their colors; it wraps, while the legend of the plot would be cut off."""
    return " ".join(
        f'<span style="white-space: nowrap; margin-right: 1em"><b style="color: {color}" aria-hidden="true">▬</b> '
        f"{html.escape(tag)}</span>"
        for tag, color in colors.items()
    )


class Demo:
    """The two models and the library.

    Args:
        model: Hub name or folder of a model of audio and text.
        tagger: Hub name or folder of a tagger or classifier.
        library: folder of audio files.

    Raises:
        SystemExit: one of them cannot be used.
    """

    def __init__(self, model: str | None, tagger: str | None, library: Path):
        self.embed = load("feature-extraction", "MULAP_MODEL", model)
        self.choose = load("zero-shot-audio-classification", "MULAP_MODEL", model)
        self.retrieve = load("text-music-retrieval", "MULAP_MODEL", model)
        self.tag = load("audio-classification", "MULAP_TAGGER", tagger)
        if self.tag.model.config.problem_type == "regression":
            raise SystemExit(f"MULAP_TAGGER={tagger} is a regression model: name a tagger or classifier")
        self.clips = sorted(path for path in library.glob("*") if path.suffix.lower()[1:] in page.FORMATS)
        if not self.clips:
            raise SystemExit(f"{library} contains no clips: put a few {', '.join(page.FORMATS)} files there")
        self.embeddings = np.array([self.embed(read_clip(path)) for path in self.clips])  # (clips, features)
        self.index = self.retrieve.index([read_clip(path) for path in self.clips])

    def describe(self, path: str | None):
        """The tags of a file, their scores over time, and the most similar clips in the library."""
        audio = read_audio(path)
        tags = {tag["label"]: tag["score"] for tag in self.tag(audio, top_k=TOP_TAGS)}
        colors = dict(zip(tags, CURVES, strict=False))
        plot = gr.LinePlot(curves(self.tag(audio, per_chunk=True, top_k=len(CURVES))), color_map=colors)
        near = similarities(np.array(self.embed(audio)), self.embeddings)
        return gr.Column(visible=True), tags, plot, legend(colors), self.players(near)

    def compare(self, path: str | None, text: str) -> gr.Label:
        """How well each of the comma-separated labels fits a file: scores that sum to 1."""
        found = self.choose(read_audio(path), candidate_labels=read_labels(text))
        return gr.Label({label["label"]: label["score"] for label in found}, visible=True)

    def search(self, path: str | None, text: str):
        """A sentence on how well a description fits a file, and the clips that it fits best."""
        query = page.read_query(text)
        scores = np.zeros(len(self.clips))
        for clip in self.retrieve(query, self.index, top_k=None):
            scores[clip["index"]] = clip["score"]
        if path is None:
            verdict = "Upload or record audio above to see how well the description fits it."
        else:
            (own,) = self.retrieve(query, [read_audio(path)])
            better = int((scores < own["score"]).sum())
            verdict = f"The description fits your audio better than **{better} of the {len(scores)} clips** here."
        return verdict, self.players(scores)

    def players(self, scores: np.ndarray) -> str:
        """HTML of the clips with the highest scores, best first, with players.

        Args:
            scores: `(clips,)`.
        """
        best = np.argsort(-scores, kind="stable")[:NEIGHBORS].tolist()
        return page.track_list(
            page.Track(self.clips[index].stem, f"gradio_api/file={quote(str(self.clips[index].resolve()))}")
            for index in best
        )


def read_clip(path: Path) -> dict:
    """`read_audio` for a clip of the library.

    Raises:
        SystemExit: it cannot be read.
    """
    try:
        return read_audio(path)
    except gr.Error as error:
        raise SystemExit(f"{path}: {error.message}") from error


def load(task: str, variable: str, name: str | None):
    """A pipeline of a model on the Hub or in a folder. It runs the code in the model's repository.

    Args:
        task: name of the pipeline.
        variable: the environment variable with the name of the model, for messages.
        name: Hub name or folder.

    Raises:
        SystemExit: the variable is not set, or the model cannot be loaded for the task.
    """
    if not name:
        raise SystemExit(f"{variable} is not set: set it to the Hub name or the folder of a model")
    try:
        pipe = pipeline(task, model=name, trust_remote_code=True)
    except (OSError, ValueError, KeyError) as error:
        raise SystemExit(f"{variable}={name} cannot be loaded for {task}: {error}") from error
    if not type(pipe).__name__.startswith("Mulap"):
        raise SystemExit(f"{variable}={name} lacks MuLaP's pipeline {task}: name a MuLaP model that has it")
    return pipe


def build(demo: Demo) -> gr.Blocks:
    """The page. Sections for results are hidden until there are results."""
    with gr.Blocks(title="What does this music sound like?", analytics_enabled=False) as blocks:
        gr.Markdown(
            "# What does this music sound like?\nUpload or record music, and see its tags. Files can be "
            f"{', '.join(page.FORMATS)}, up to {MAX_SECONDS // 60} minutes and {page.MAX_MEGABYTES} MB."
        )
        audio = gr.Audio(type="filepath", sources=["upload", "microphone"], buttons=[], label="Your music")
        describe = gr.Button("Describe it", variant="primary")
        with gr.Column(visible=False) as description:
            with gr.Row():
                tags = gr.Label(label="Tags and their scores", show_heading=False, min_width=320)
                with gr.Column(min_width=320):
                    plot = gr.LinePlot(
                        x="seconds",
                        y="score",
                        color="tag",
                        y_title="score",
                        y_lim=[0, 1],
                        y_axis_format=".0%",
                        colors_in_legend=[],
                        label="Scores over time",
                    )
                    tag_colors = gr.HTML()
            gr.Markdown("### Similar clips")
            neighbors = gr.HTML(padding=False)
        gr.Markdown("## Compare your own words\nWhich of them fits your music best?")
        labels = gr.Textbox(label="Words or phrases, separated by commas", placeholder="calm piano, loud rock, techno")
        choose = gr.Button("Compare them")
        fits = gr.Label(label="How well each of them fits, relative to the others", show_heading=False, visible=False)
        gr.Markdown(f"## Find music by a description\nSearches the {len(demo.clips)} clips of this demo.")
        query = gr.Textbox(label="Description", placeholder="a slow, sad violin", max_length=page.MAX_CHARACTERS)
        search = gr.Button("Find")
        verdict = gr.Markdown()
        found = gr.HTML(padding=False)

        blocks.load(js=page.PLAIN_WORDS)
        audio.change(  # hides the results of other audio; not queued, so that it happens before the next request
            lambda: [gr.Column(visible=False), gr.Label(visible=False), ""],
            outputs=[description, fits, verdict],
            queue=False,
        )
        page.on([describe.click], demo.describe, audio, [description, tags, plot, tag_colors, neighbors])
        page.on([choose.click, labels.submit], demo.compare, [audio, labels], fits)
        page.on([search.click, query.submit], demo.search, [audio, query], [verdict, found])
    return blocks


def main():
    library = Path(os.environ.get("MULAP_LIBRARY", Path(__file__).parent / "library"))
    demo = Demo(os.environ.get("MULAP_MODEL"), os.environ.get("MULAP_TAGGER"), library)
    build(demo).launch(
        allowed_paths=[library], max_file_size=page.MAX_MEGABYTES * 2**20, footer_links=[], theme=page.THEME
    )


if __name__ == "__main__":
    main()
