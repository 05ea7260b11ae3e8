"""The demo in the browser: a Space of two published models, with a library of clips."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, RepoCard, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, HTTPError, RepositoryNotFoundError

from ..errors import PublishError
from .assemble import copy_samples, generate_samples
from .hub import Destination, explain

_LIBRARY = "library"
_CLIPS = 12  # of every style of the synthetic corpus one


@dataclass(frozen=True)
class Demo:
    """What the Space shows.

    model: Hub name of a published model of music and texts.
    tagger: of a tagger or classifier.
    library: audio files to compare with; none: generated clips.
    """

    model: str
    tagger: str
    library: Sequence[Path] = ()


def assemble_space(space: Path, target: Path, demo: Demo):
    """Copies the app, names the models in its card, and adds the library.

    Args:
        space: folder of the app.
        target: is made.
        demo: what it shows.

    Raises:
        PublishError: a clip cannot be read.
    """
    target.mkdir(parents=True)
    for name in ("app.py", "requirements.txt", "README.md"):
        shutil.copyfile(space / name, target / name)
    card = RepoCard.load(target / "README.md", repo_type="space")
    card.data.models = [demo.model, demo.tagger]
    card.save(target / "README.md")
    if demo.library:
        copy_samples(target, demo.library, _LIBRARY)
    else:
        generate_samples(target, _LIBRARY, _CLIPS)


def check_models(demo: Demo):
    """Raises:
    PublishError: a model is not on the Hub, or not for what it is named for.
    """
    wanted = {"--model": (demo.model, "text-music-retrieval"), "--tagger": (demo.tagger, "audio-classification")}
    for option, (name, task) in wanted.items():
        try:
            config = json.loads(Path(hf_hub_download(name, "config.json")).read_text(encoding="utf-8"))
        except (RepositoryNotFoundError, EntryNotFoundError, HFValidationError) as error:
            raise PublishError(
                f"{option} {name} is no model on the Hub: publish it with training/publish.py"
            ) from error
        except HTTPError as error:
            raise PublishError(explain(error)) from error
        if task not in config.get("custom_pipelines", {}):
            raise PublishError(f"{option} {name} has no pipeline for {task}: give the other one, or publish it again")


def publish_space(target: Path, destination: Destination, demo: Demo) -> str:
    """Uploads an assembled Space and tells it which models to load.

    Returns:
        Its URL.

    Raises:
        PublishError: the Hub refuses.
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
