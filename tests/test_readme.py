"""Every snippet and command of every README works, and every link in them leads somewhere.

* Python snippets run, page by page, in a folder that looks like a clone in which a model and a tagger were trained, on
  music of some seconds. What `print(...)` prints must be what the comment behind it begins with.
* The shell commands in `RUN` run. All others need the network, a corpus, or minutes to hours: only their options are
  checked, by the script's own parser, and that the extras exist that they install.
* The Python snippets of the model cards run in test_published_models.py, where the package is missing.
"""

import argparse
import ast
import contextlib
import importlib.metadata
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile as sf
from accelerate.commands.launch import launch_command_parser
from helpers import ROOT, write_tone
from torch.distributed.run import get_args_parser
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, AutoModelForPreTraining, AutoProcessor

from mulap_hf import MulapForMusicSimilarity, cli, load_audio

FOLDERS = ("", "training/", "training/accelerate/", "src/mulap_hf/", "model_cards/", "model_cards/*/")
PAGES = sorted(str(page.relative_to(ROOT)) for folder in FOLDERS for page in ROOT.glob(f"{folder}README.md"))
CARDS = tuple(f"model_cards/mulap-{name}/README.md" for name in ("tiny", "small", "tiny-tagger", "tiny-similarity"))
SCRIPTS = sorted(path.name for path in (ROOT / "training").glob("*.py"))
RUN = (
    "mulap embed my_music/ song.mp3 --model outputs/pretrained --output embeddings.parquet",
    "mulap embed my_music/ --model outputs/pretrained --output chunks.parquet --per_chunk",
    "mulap embed my_music/ --model outputs/pretrained --space joint --output music.parquet",
    "mulap index music.parquet --output music.index",
    "mulap search music.index --text 'calm piano with strings'",
    "mulap search music.index --audio song.mp3 -k 3",
    "mulap search music.index --like my_music/c.flac --m3u",
    "python training/export_onnx.py --model outputs/transferred --output tagger.onnx",
    "python training/prepare_dataset.py --help",
    "python training/prepare_dataset.py jamendo --help",
)


def fences(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """The commands of shell code, each on one line."""
    lines = text.replace("\\\n", " ").splitlines()
    bare = (shlex.join(shlex.split(line, comments=True)) for line in lines)
    return [part.strip() for line in bare for part in line.replace("'&&'", "&&").split("&&") if part.strip()]


@pytest.fixture(scope="session")
def clone(tmp_path_factory) -> Path:
    """A folder that looks like a clone after the commands of the README, with some music of the user's."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("model_cards", "training"):
        (folder / name).symlink_to(ROOT / name, target_is_directory=True)
    base, tagger = ROOT / "model_cards" / "mulap-tiny", ROOT / "model_cards" / "mulap-tiny-tagger"
    AutoModelForPreTraining.from_pretrained(base).save_pretrained(folder / "outputs" / "pretrained")
    AutoProcessor.from_pretrained(base).save_pretrained(folder / "outputs" / "pretrained")
    AutoModelForAudioClassification.from_pretrained(tagger).save_pretrained(folder / "outputs" / "transferred")
    AutoFeatureExtractor.from_pretrained(tagger).save_pretrained(folder / "outputs" / "transferred")
    MulapForMusicSimilarity.from_pretrained(base).save_pretrained(folder / "outputs" / "similarity")
    AutoFeatureExtractor.from_pretrained(tagger).save_pretrained(folder / "outputs" / "similarity")
    sf.write(folder / "song.mp3", load_audio(base / "samples" / "reggae.flac"), 16000)
    for name in ("a.wav", "b.ogg", "my_music/c.flac", "my_music/d.mp3"):
        write_tone(folder / name, seconds=4)
    return folder


class Parsed(BaseException):
    """The parser of a script took its command line."""


@contextlib.contextmanager
def stop_after_parsing(arguments: list[str]) -> Iterator[None]:
    """Ends a script as soon as its parser has taken all of the command line; other parsers in it do their work."""
    parse = argparse.ArgumentParser.parse_known_args

    def parse_and_stop(parser, args=None, namespace=None):
        result = parse(parser, args, namespace)
        if parser.add_help and not result[1] and list(sys.argv[1:] if args is None else args) == arguments:
            raise Parsed
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", parse_and_stop)
        yield


def start(words: list[str]):
    """Runs a command of Python in this process, as it is or up to the end of parsing."""
    with pytest.MonkeyPatch.context() as patch:
        if words[0] == "mulap":
            return cli.main(words[1:])
        if words[:2] == ["python", "-m"]:
            patch.setattr(sys, "argv", words[2:])
            return runpy.run_module(words[2], run_name="__main__", alter_sys=True)
        patch.setattr(sys, "argv", words[1:])
        patch.syspath_prepend(str(ROOT / "training"))
        return runpy.run_path(str(ROOT / words[1]), run_name="__main__")


def check_options(words: list[str]):
    """The script's own parser takes the options."""
    arguments = words[3:] if words[:2] == ["python", "-m"] else words[1 if words[0] == "mulap" else 2 :]
    try:
        with stop_after_parsing(arguments):
            start(words)
    except Parsed:
        return
    except SystemExit as stop:
        assert "--help" in words, f"{shlex.join(words)} exits with {stop.code}"
        assert not stop.code
        return
    raise AssertionError(f"{shlex.join(words)} has parsed nothing")


def check(command: str):
    """Checks a command whose kind is known; others have no place in a README."""
    words = shlex.split(command)
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[0] == "accelerate":
        launched = launch_command_parser().parse_args(words[2:])
        words = ["python", launched.training_script, *launched.training_script_args]
        assert launched.config_file is None or (ROOT / launched.config_file).is_file()
    elif words[0] == "torchrun":
        launched = get_args_parser().parse_args(words[1:])
        words = ["python", launched.training_script, *launched.training_script_args]
    if words[0] == "pip":
        extras = {extra for word in words for group in re.findall(r"\[(.*)\]", word) for extra in group.split(",")}
        assert words[1] == "install" and extras <= set(
            importlib.metadata.metadata("mulap-hf").get_all("Provides-Extra")
        )
    elif words[0] in ("pytest", "curl"):
        assert words[:2] in (["pytest", "-n"], ["curl", "$URL?top_k=5"])
    elif words == ["python", "app.py"]:  # of the Space, in its folder
        assert (ROOT / "model_cards" / "space" / "app.py").is_file()
    else:
        assert words[0] in ("python", "mulap"), command
        check_options(words)


@pytest.mark.parametrize("page", PAGES)
def test_snippets_and_commands(page, clone, monkeypatch, capsys):
    monkeypatch.chdir(clone)
    text = (ROOT / page).read_text()
    for command in (command for code in fences(text, "sh") for command in commands(code)):
        if command not in RUN:
            check(command)
            continue
        words = shlex.split(command)
        try:
            status = start(words)
        except SystemExit as stop:
            status = stop.code
        assert not status or isinstance(status, dict), capsys.readouterr().err
    for code in [] if page in CARDS else fences(text, "python"):
        capsys.readouterr()
        exec(compile(code, page, "exec"), {"__name__": "snippet"})
        printed = capsys.readouterr().out.splitlines()
        promised = re.findall(r"^print\(.*\)(?:  # (.*))?$", code, re.MULTILINE)
        assert len(printed) == len(promised)
        for line, comment in zip(printed, promised, strict=True):
            assert comment.startswith(line) or not comment, f"{page}: printed {line}, not {comment}"


def test_all_commands_that_run_are_in_a_readme():
    found = {
        command for page in PAGES for code in fences((ROOT / page).read_text(), "sh") for command in commands(code)
    }
    assert set(RUN) <= found


def test_commands_in_the_table_of_the_readme(clone, monkeypatch):
    monkeypatch.chdir(clone)
    lines = (ROOT / "README.md").read_text().splitlines()
    found = [code for line in lines if line.startswith("|") for code in re.findall(r"`(.*?)`", line)]
    shell = [code for code in found if code.split()[0] in ("python", "accelerate", "mulap")]
    assert len(shell) > 10
    for command in shell:
        check(command)


def test_python_in_the_table_of_the_readme():
    """The page that a row links to has a snippet with what the row names; snippets run."""
    text = (ROOT / "README.md").read_text()
    pages = dict(re.findall(r"^\[(.*?)\]: ([^#\s]+)", text, re.MULTILINE))
    row = r"^\| .* \| `(?!python |accelerate |mulap )([^`]*)(?<!ipynb)` \| \[(.*)\] \|$"
    rows = re.findall(row, text, re.MULTILINE)
    assert len(rows) >= 5
    for code, label in rows:
        name = re.split(r"[ .]", code.partition("(")[0])[-1]
        snippets = "".join(fences((ROOT / pages[label.lower()]).read_text(), "python"))
        assert re.search(rf"\b{name}\b", snippets), code


@pytest.mark.parametrize("script", SCRIPTS)
def test_commands_in_the_help_of_the_scripts(script, clone, monkeypatch):
    monkeypatch.chdir(clone)
    text = ast.get_docstring(ast.parse((ROOT / "training" / script).read_text())) or ""
    found = [line for line in text.splitlines() if re.match(rf"(python|accelerate launch) training/{script}", line)]
    assert found, f"training/{script} --help shows no command"
    for command in (command for line in found for command in commands(line)):
        check(command.replace(" NAME ", " fma "))


@pytest.mark.parametrize("page", PAGES)
def test_links(page):
    """Files in the repository exist, and so do the headings that links lead to."""
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[.*?\]: (\S+)$", text, re.MULTILINE)
    for target in targets:
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / page).parent / path) if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page}: {target}"
    labels = {label.lower() for label in re.findall(r"^\[(.*?)\]: ", text, re.MULTILINE)}
    assert {label.lower() for label in re.findall(r"\| \[([^\]]+)\] \|", text)} <= labels
