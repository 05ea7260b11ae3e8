"""The Space: its limits, and its page as a visitor sees it in a browser."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from headless import free_port, open_page
from helpers import ROOT, import_script, micro_config, save_both, settle, write_tone
from huggingface_hub import RepoCard

from mulap_hf import MulapForAudioClassification, MulapModel
from mulap_hf.publishing.space import Demo, assemble_space

gr = pytest.importorskip("gradio", reason="gradio is not installed: pip install gradio")

APP = ROOT / "model_cards" / "space" / "app.py"
TAGS = ["calm", "loud", "piano"]
# As if the package were not installed: a Space has transformers only.
START = "import runpy, sys; sys.modules['mulap_hf'] = None; runpy.run_path('app.py', run_name='__main__')"


@pytest.fixture(scope="module")
def app():
    return import_script(APP)


@pytest.fixture(scope="module")
def models(processor, tmp_path_factory):
    """A model of audio and text, a tagger, and a library, as the Space uses them."""
    folder = tmp_path_factory.mktemp("space")
    model = settle(MulapModel(micro_config(projection_size=16)))
    labels = {"id2label": dict(enumerate(TAGS)), "problem_type": "multi_label_classification"}
    tagger = settle(MulapForAudioClassification(micro_config(**labels)), seed=1)
    with torch.no_grad():  # scores that differ, and are not all 0 or 1
        tagger.classifier[-1].weight *= 0.02
        tagger.classifier[-1].bias *= 0.02
        model.matching_head.weight *= 300
    for name, saved in (("model", model), ("tagger", tagger)):
        save_both(saved, processor, folder / name)
    clips = [folder / "library" / f"clip {seed}.flac" for seed in range(4)]
    for seed, clip in enumerate(clips):
        write_tone(clip, seconds=2, seed=seed)
    assemble_space(APP.parent, folder / "space", Demo("org/model", "org/tagger", clips))
    return folder, model, tagger


@pytest.mark.parametrize(
    ("name", "rate", "channels"), [("a.wav", 44100, 2), ("a.flac", 16000, 1), ("a.ogg", 48000, 2), ("a.mp3", 44100, 1)]
)
def test_audio_is_read(app, tmp_path, name, rate, channels):
    samples = write_tone(tmp_path / name, seconds=2.5, rate=rate, channels=channels)
    audio = app.read_audio(str(tmp_path / name))
    assert audio["sampling_rate"] == rate and audio["raw"].dtype == np.float32
    error = np.abs(audio["raw"][: len(samples)] - samples.mean(axis=1)).mean()  # mp3 pads the end
    assert error < (1e-4 if name.endswith(("wav", "flac")) else 0.01)


def test_length_is_limited_whatever_the_size(app, tmp_path):
    path = tmp_path / "long.flac"
    sf.write(path, np.zeros(8000 * 600, dtype=np.float32), 8000)
    assert len(app.read_audio(str(path))["raw"]) == 8000 * 600
    sf.write(path, np.zeros(8000 * 600 + 1, dtype=np.float32), 8000)
    assert path.stat().st_size < 100_000
    with pytest.raises(gr.Error, match="the limit is 10 minutes"):
        app.read_audio(str(path))


def broken(path):
    write_tone(path)
    path.write_bytes(path.read_bytes()[:20])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "cannot be read as audio"),
        (lambda path: path.write_text("words " * 100), "cannot be read as audio"),
        (broken, "cannot be read as audio"),
        (lambda path: sf.write(path, np.zeros(0), 16000), "contains no audio"),
        (lambda path: sf.write(path, np.full(99, np.nan), 16000, subtype="FLOAT"), "not numbers"),
        (lambda path: path.write_bytes(bytes(50 * 2**20 + 1)), "the limit is 50 MB"),
        (lambda path: sf.write(path, np.zeros(99), 2**31 - 1), "1000 to 192000"),
        (lambda path: sf.write(path, np.zeros(99), 1), "1000 to 192000"),
    ],
)
def test_unusable_audio_is_refused(app, tmp_path, write, message):
    write(tmp_path / "song.wav")
    with pytest.raises(gr.Error, match=message):
        app.read_audio(str(tmp_path / "song.wav"))


def test_card_is_what_the_hub_takes():
    card = RepoCard.load(APP.parent / "README.md").data.to_dict()
    assert (card["sdk"], card["app_file"], card["license"]) == ("gradio", APP.name, "apache-2.0")
    assert card["sdk_version"].split(".")[0] == gr.__version__.split(".")[0]
    assert 0 < len(card["short_description"]) <= 60  # the Hub's limit


def test_labels_and_queries(app):
    page = app.page
    assert app.read_labels(" piano, loud rock,,piano,\n") == ["piano", "loud rock"]
    assert page.read_query(" sad violin ") == "sad violin"
    for read, text, message in (
        (app.read_labels, "piano, , piano", "at least two"),
        (app.read_labels, ",".join(map(str, range(51))), "the limit is 50"),
        (page.read_query, " ", "in a few words"),
        (page.read_query, "a" * 301, "the limit is 300"),
    ):
        with pytest.raises(gr.Error, match=message):
            read(text)


def test_curves_are_steps(app):
    chunks = [{"start": 0, "end": 3, "scores": {"calm": 0.25}}, {"start": 3, "end": 5, "scores": {"calm": 0.5}}]
    rows = app.curves(chunks).values.tolist()
    assert rows == [[0, "calm", 0.25], [3, "calm", 0.25], [3, "calm", 0.5], [5, "calm", 0.5]]


def test_legend_takes_tags_as_text(app):
    assert "R&amp;B &lt;b&gt;" in app.legend({"R&B <b>": "#0072b2"})


def test_similarity_is_about_the_mean(app):
    library = np.array([[10.0, 11.0], [10.0, 9.0], [13.0, 10.0], [7.0, 10.0]])  # (10, 10) is in all of them
    assert app.similarities(np.array([10.0, 12.0]), library).tolist() == [1, -1, 0, 0]
    assert app.similarities(np.array([10.0, 12.0]), library[:1]).tolist() == [0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "MULAP_MODEL is not set"),
        ({"tagger": ""}, "MULAP_TAGGER is not set"),
        ({"model": "nowhere/nothing"}, "MULAP_MODEL=nowhere/nothing cannot be loaded"),
        ({"library": ROOT / "training"}, "training contains no clips"),
        ({"model": "tagger"}, "MULAP_MODEL=tagger lacks MuLaP's pipeline zero-shot-audio-classification"),
        ({"tagger": "model"}, "MULAP_TAGGER=model"),
    ],
)
def test_app_does_not_start_without(app, models, monkeypatch, change, message):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(models[0])
    settings = {"model": "model", "tagger": "tagger", "library": Path("library")}
    with pytest.raises(SystemExit, match=message):
        app.Demo(**{**settings, **change})


@dataclass
class Site:
    """The app, running in a process of its own, in a browser."""

    page: "playwright.sync_api.Page"  # noqa: F821
    url: str
    requests: list[str]

    def open(self, width: int = 1280):
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.goto(self.url)
        self.button("Describe it").wait_for()

    def button(self, name: str):
        return self.page.get_by_role("button", name=name, exact=True)

    def upload(self, path):
        self.page.locator("input[type=file]").first.set_input_files(path)

    def describe(self, path):
        self.upload(path)
        self.button("Clear").wait_for()  # only there when there is audio
        self.button("Describe it").click()

    def error(self) -> str:
        """The message that is shown."""
        message = self.page.get_by_test_id("toast-body").first
        message.wait_for()
        return message.inner_text()

    def wait_until_playable(self, players: int):
        """Waits until so many clips of the library can be played, and nothing else can."""
        ready = (
            "count => [...document.querySelectorAll('audio')].filter(player => player.duration > 1).length == count"
        )
        self.page.wait_for_function(ready, arg=players)

    def scores(self, label: str) -> dict[str, str]:
        """The rows of a result: label -> per cent."""
        rows = self.page.get_by_test_id("block-label").filter(has_text=label).locator("..").get_by_role("button")
        rows.first.wait_for()
        return dict(row.rsplit("\n", 1) for row in map(str.strip, rows.all_inner_texts()))


@pytest.fixture(scope="module")
def site(models):
    url = f"127.0.0.1:{(port := free_port())}"
    settings = {
        "MULAP_MODEL": str(models[0] / "model"),
        "MULAP_TAGGER": str(models[0] / "tagger"),
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(models[0] / "uploads"),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-c", START]
    with (
        open_page() as page,
        subprocess.Popen(
            command, env={**os.environ, **settings}, cwd=models[0] / "space", stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            assert any(url in line for line in process.stdout), "the app ended before it served its page"
            site = Site(page, f"http://{url}", [])
            page.on("request", lambda request: site.requests.append(request.url))
            page.set_default_timeout(15000)
            yield site
        finally:
            process.kill()


def per_cent(score: float) -> str:
    return f"{round(100 * score)}%"


def waveform(path) -> torch.Tensor:
    return torch.from_numpy(sf.read(path, dtype="float32")[0])[None]


@torch.no_grad()
def test_uploaded_audio_is_described(site, models):
    folder, _, tagger = models
    clip = folder / "library" / "clip 2.flac"
    scores = tagger(waveform(clip)).logits[0].sigmoid().tolist()
    site.open()
    site.describe(clip)
    shown = site.scores("Tags and their scores")
    assert shown == {tag: per_cent(score) for tag, score in zip(TAGS, scores, strict=True)}
    assert len(set(shown.values())) == len(TAGS)  # or the comparison says nothing
    site.page.locator("svg.marks, canvas.marks").wait_for()
    site.page.get_by_text("1. clip 2").wait_for()  # nothing is nearer to a clip than itself
    site.wait_until_playable(3)


@torch.no_grad()
def test_labels_of_the_visitor(site, models, processor):
    folder, model, _ = models
    clip, labels = folder / "library" / "clip 1.flac", ["calm piano", "loud rock guitars", "fast techno beat"]
    scores = model(waveform(clip), **processor(text=labels)).logits_per_audio[0].softmax(dim=0).tolist()
    site.open()
    site.upload(clip)
    site.page.get_by_label("Words or phrases").fill(", ".join(labels))
    site.button("Compare them").click()
    shown = site.scores("How well each of them fits")
    assert shown == {label: per_cent(score) for label, score in zip(labels, scores, strict=True)}
    assert len(set(shown.values())) == len(labels)


@torch.no_grad()
def test_description_finds_clips(site, models, processor):
    folder, model, _ = models
    clips = sorted((folder / "library").iterdir())
    text = model.get_text_features(**processor(text="slow sad violin")).pooler_output[0]
    scores = [model.get_audio_features(waveform(clip)).pooler_output[0] @ text for clip in clips]
    best = sorted(range(len(clips)), key=lambda index: -scores[index])
    site.open()
    site.page.get_by_label("Description").fill("slow sad violin")
    site.page.get_by_label("Description").press("Enter")
    site.page.get_by_text("Upload or record audio above").wait_for()
    for rank, index in enumerate(best[:3], start=1):
        site.page.get_by_text(f"{rank}. {clips[index].stem}").wait_for()
    site.wait_until_playable(3)
    site.upload(clips[best[0]])
    site.button("Find").click()
    site.page.get_by_text(f"better than {len(clips) - 1} of the {len(clips)} clips").wait_for()


def test_recording_is_described(site):
    tone = """navigator.mediaDevices.getUserMedia = async () => {
        const context = new AudioContext(), microphone = context.createMediaStreamDestination();
        const tone = context.createOscillator();
        tone.connect(microphone);
        tone.start();
        return microphone.stream;
    }"""
    site.open()
    site.page.evaluate(tone)
    site.button("Record audio").click()
    site.button("Record").click()
    site.page.wait_for_timeout(1000)
    with site.page.expect_response(re.compile("/run/")):  # once the recording has arrived, the page is cleared
        site.button("Stop").click()
    site.button("Describe it").click()
    assert site.scores("Tags and their scores").keys() == set(TAGS)


def test_files_without_audio_are_refused(site, tmp_path):
    text = "These are words.\n" * 100
    for name in ("notes.txt", "notes.wav"):
        (tmp_path / name).write_text(text)
    site.open()
    site.upload(tmp_path / "notes.txt")
    assert "This file cannot be read as audio" in site.error()
    site.open()
    site.describe(tmp_path / "notes.wav")
    assert "This file cannot be read as audio" in site.error()
    assert not site.page.get_by_text("Similar clips").is_visible()


def test_missing_inputs_are_asked_for(site, models):
    site.open()
    site.button("Describe it").click()
    assert "There is no audio yet" in site.error()
    site.open()
    site.upload(models[0] / "library" / "clip 1.flac")
    site.page.get_by_label("Words or phrases").fill(" , ")
    site.button("Compare them").click()
    assert "at least two" in site.error()
    site.open()
    site.button("Find").click()
    assert "Describe the music in a few words" in site.error()


def test_other_audio_takes_the_results_away(site, models):
    site.open()
    site.describe(models[0] / "library" / "clip 1.flac")
    heading = site.page.get_by_text("Similar clips")
    heading.wait_for()
    site.button("Clear").click()
    heading.wait_for(state="hidden")


@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits_the_screen(site, models, width):
    site.open(width)
    site.describe(models[0] / "library" / "clip 1.flac")
    site.page.get_by_text("1. clip 1").wait_for()
    assert site.page.evaluate("innerWidth") == width
    assert site.page.evaluate("document.documentElement.scrollWidth") <= width
    cut_off = """[...document.querySelectorAll("main :is(button, audio, textarea, canvas, svg)")]
        .map(element => element.getBoundingClientRect())
        .filter(box => box.width && (box.left < 0 || box.right > innerWidth))"""
    assert site.page.evaluate(cut_off) == []


def test_page_needs_nothing_from_outside(site):
    site.open()
    site.page.wait_for_load_state("networkidle")
    assert site.requests
    assert not [url for url in site.requests if not url.startswith((site.url, "data:", "blob:"))]


def test_every_control_has_a_name(site):
    site.open()
    unnamed = re.findall(r"- (?:button|textbox|combobox)(?!\s*\").*", site.page.locator("body").aria_snapshot())
    assert unnamed == []
