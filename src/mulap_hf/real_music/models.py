"""The models of the benchmark by their names in tables."""

from pathlib import Path

import torch

from ..embedding import Embedder
from ..errors import DataError
from ..loading import open_backbone, saved_kind
from ..modeling_mulap_audio import MulapAudioModel
from ..transfer.features import HANDCRAFTED, TIMBRE, Extractor, open_extractor

_RANDOM = "random:"


def name_models(models: list[str]) -> dict[str, list[str]]:
    """Return the models by name: of NAME=MODEL, or the last part of a path.

    The same NAME before several models means that they are one model, trained with several seeds.

    Raises:
        DataError: Two models without NAME= have the same name.
        ModelError: A model cannot be found.
    """
    found: dict[str, list[str]] = {}
    for text in models:
        name, equals, model = text.partition("=")
        if not equals or Path(text).is_dir():  # a folder may have = in its name
            folder = folder_of(text)
            kind = text.removesuffix(folder)[:-1]  # random, timbre or nothing
            name, model = f"{kind} {Path(folder).name}".strip(), text
            if name in found:
                raise DataError(f"--models {text}: {name!r} names two models; pass NAME={model} with another name")
        if model != HANDCRAFTED:
            saved_kind(folder_of(model))
        found.setdefault(name, []).append(model)
    return found


def folder_of(model: str) -> str:
    """The folder or Hub name of random:MODEL, timbre:MODEL or MODEL."""
    return model.removeprefix(_RANDOM).removeprefix(TIMBRE)


def open_model(model: str, device: str | None, seed: int) -> Extractor:
    """Open a backbone, its features without pitch, one with random weights, or handcrafted features.

    Raises:
        ModelError: The model cannot be loaded, or is not a MuLaP model.
    """
    if not model.startswith(_RANDOM):
        return open_extractor(model, device)
    config = open_backbone(model.removeprefix(_RANDOM)).config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Embedder(MulapAudioModel(config), device)
