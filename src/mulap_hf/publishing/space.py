"""The demo in the browser: a Space with two published models and a library of clips."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, RepoCard, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, HTTPError, RepositoryNotFoundError

from ..errors import PublishError
from .arguments import Destination
from .assemble import copy_samples, generate_samples
from .hub import explain

PAGE = Path(__file__).parents[1] / "search" / "page.py"  # what it shares with `mulap serve`
_LIBRARY = "library"
_CLIPS = 12  # one for every style of the synthetic corpus


@dataclass(frozen=True)
class Demo:
    """The models and clips of a Space.

    model: Hub name of a published model of audio and text.
    tagger: Hub name of a published tagger or classifier.
    library: audio files to compare with; default: generated clips.
    """

    model: str
    tagger: str
    library: Sequence[Path] = ()


def assemble_space(space: Path, target: Path, demo: Demo):
    """Copies the app and what it shares with `mulap serve`, names the models in its card, and adds the library.

    Args:
        space: folder of the app.
        target: folder to create.
        demo: models and clips.

    Raises:
        PublishError: a clip cannot be read.
    """
    target.mkdir(parents=True)
    for name in ("app.py", "requirements.txt", "README.md"):
        shutil.copyfile(space / name, target / name)
    shutil.copyfile(PAGE, target / PAGE.name)
    card = RepoCard.load(target / "README.md", repo_type="space")
    card.data.models = [demo.model, demo.tagger]
    card.save(target / "README.md")
    if demo.library:
        copy_samples(target, demo.library, _LIBRARY)
    else:
        generate_samples(target, _LIBRARY, _CLIPS)


def check_models(demo: Demo):
    """Raises:
    PublishError: a model is not on the Hub, or lacks the pipeline that the demo uses.
    """
    wanted = {"--model": (demo.model, "text-music-retrieval"), "--tagger": (demo.tagger, "audio-classification")}
    for option, (name, task) in wanted.items():
        try:
            config = json.loads(Path(hf_hub_download(name, "config.json")).read_text(encoding="utf-8"))
        except (RepositoryNotFoundError, EntryNotFoundError, HFValidationError) as error:
            raise PublishError(
                f"{option} {name}: the Hub has no such model; publish it with training/publish.py"
            ) from error
        except HTTPError as error:
            raise PublishError(explain(error)) from error
        if task not in config.get("custom_pipelines", {}):
            raise PublishError(f"{option} {name} lacks the pipeline {task}: pass a model that has it")


def publish_space(target: Path, destination: Destination, demo: Demo) -> str:
    """Uploads an assembled Space and sets the variables that name its models.

    Returns:
        Its URL.

    Raises:
        PublishError: the Hub refuses the upload.
    """
    api, repo_id = HfApi(), destination.repo_id
    try:
        url = api.create_repo(
            repo_id, repo_type="space", space_sdk="gradio", private=destination.private, exist_ok=True
        )
        for key, value in (("MULAP_MODEL", demo.model), ("MULAP_TAGGER", demo.tagger)):
            api.add_space_variable(repo_id, key, value)
        upload = {"folder_path": target, "commit_message": "Publish the demo", "delete_patterns": f"{_LIBRARY}/*"}
        api.upload_folder(repo_id=repo_id, repo_type="space", **upload)
    except (HTTPError, ValueError) as error:
        raise PublishError(explain(error)) from error
    return str(url)
