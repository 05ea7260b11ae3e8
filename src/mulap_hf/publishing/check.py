"""Tests a folder as its users will: a fresh process without this package loads it and runs its card's snippets."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile as sf
from huggingface_hub import ModelCard
from transformers import AutoConfig

from ..audio import load_audio
from ..errors import PublishError
from ..loading import TEXT_KINDS, model_kind
from .assemble import ENDPOINT_FILES, SAMPLES_FOLDER

_SNIPPET = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SONGS = ("song.mp3", "other.mp3")  # names of the user's files in the snippets
_SONG_RATE = 16000  # mono: mp3 does not support every rate and number of channels that samples may have
_SECONDS = 600
# The package cannot be imported, as on the user's machine.
_RUN = "import runpy, sys; sys.modules['mulap_hf'] = None; [runpy.run_path(name) for name in sys.argv[1:]]"
_RUN = f"import gc; gc.disable(); {_RUN}; gc.freeze()"  # imports are faster without collections
_LOAD = """
import json
from pathlib import Path
import torch
import transformers
from transformers import AutoConfig, AutoFeatureExtractor, AutoProcessor

name = {name!r}
config = AutoConfig.from_pretrained(name, trust_remote_code=True)
assert type(AutoFeatureExtractor.from_pretrained(name, trust_remote_code=True)).__name__ == "MulapFeatureExtractor"
if {has_text}:
    assert type(AutoProcessor.from_pretrained(name, trust_remote_code=True)).__name__ == "MulapProcessor"
autos = {autos!r}
for auto in autos:
    loaded, info = getattr(transformers, auto).from_pretrained(name, trust_remote_code=True, output_loading_info=True)
    assert not info["missing_keys"], f"{{auto}}: the weights lack {{sorted(info['missing_keys'])[0]}}"
    assert all(torch.isfinite(value).all() for value in loaded.state_dict().values() if value.is_floating_point())
"""


def check_folder(folder: Path, repo_id: str):
    """Checks that an assembled folder is complete and works.

    Args:
        folder: a folder made by `assemble`.
        repo_id: name of the model in its card.

    Raises:
        PublishError: a file is missing, the model does not load, or a snippet fails; the message has the last lines of
            the error.
    """
    config = AutoConfig.from_pretrained(folder)
    kind = model_kind(config)
    _check_files(folder, config)
    # The Auto class that fits the weights; with another one, some weights would be missing.
    autos = ["AutoModelForAudioClassification" if kind == "classifier" else "AutoModel"]
    if config.architectures == ["MulapForPreTraining"]:
        autos.append("AutoModelForPreTraining")
    load = _LOAD.format(name=repo_id, has_text=kind in TEXT_KINDS, autos=autos)
    snippets = read_snippets(folder)
    if not snippets:
        raise PublishError(f"{folder / 'README.md'} has no Python snippet: render it from the templates again")
    scripts = {"loading": load} | {f"snippet_{number}": code for number, code in enumerate(snippets, start=1)}
    result = run_as_user(folder, repo_id, scripts)
    if result.returncode:
        last = "\n".join(result.stderr.strip().splitlines()[-12:])
        raise PublishError(f"{folder} fails in a fresh process without the package:\n{last}")


def read_snippets(folder: Path) -> list[str]:
    """The Python snippets of a card, word for word."""
    return _SNIPPET.findall(ModelCard.load(folder / "README.md").text)


def run_as_user(folder: Path, repo_id: str, scripts: dict[str, str]) -> subprocess.CompletedProcess:
    """Runs scripts one after the other in a fresh, offline process in which the package cannot be imported.

    Its working directory contains the model under the name of its repository, and the two songs of the snippets.

    Args:
        folder: folder of the model.
        repo_id: name of the model.
        scripts: code by name; tracebacks show these names.

    Raises:
        PublishError: the scripts take too long.
    """
    with tempfile.TemporaryDirectory(prefix="mulap-user-") as place:
        home = Path(place)
        link = home / repo_id
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder.resolve(), target_is_directory=True)
        samples = sorted((folder / SAMPLES_FOLDER).iterdir())
        for song, sample in zip(_SONGS, (samples * 2)[:2], strict=True):
            sf.write(home / song, load_audio(sample, _SONG_RATE), _SONG_RATE)
        for name, code in scripts.items():
            (home / f"{name}.py").write_text(code, encoding="utf-8")
        try:
            return subprocess.run(
                [sys.executable, "-c", _RUN, *(f"{name}.py" for name in scripts)],
                cwd=home,
                env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(home / ".modules")},
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise PublishError(
                f"{folder}: loading the model and running its card's snippets took more than {_SECONDS} s: publish it "
                "while the machine is idle, or with shorter --samples"
            ) from error


def _check_files(folder: Path, config):
    names = {path.name for path in folder.iterdir()}
    wanted = {"README.md", "config.json", "preprocessor_config.json", *ENDPOINT_FILES}
    if model_kind(config) in TEXT_KINDS:
        wanted |= {"processor_config.json", "tokenizer.json", "tokenizer_config.json"}
    entries = [*config.auto_map.values(), *(one["impl"] for one in config.custom_pipelines.values())]
    for entry in entries:
        module, _, name = entry.partition(".")
        wanted.add(f"{module}.py")
        file = folder / f"{module}.py"
        if file.is_file() and f"class {name}" not in file.read_text(encoding="utf-8"):
            raise PublishError(f"{file} lacks the class {name}, which config.json names: assemble the folder again")
    if missing := sorted(wanted - names):
        raise PublishError(f"{folder} lacks {', '.join(missing)}: assemble the folder again")
