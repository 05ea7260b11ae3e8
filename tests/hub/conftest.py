"""Fixtures of the tests that publish to a Hub and load from it, and of those of the endpoint's handler."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from endpoint_helpers import FORMATS, LABELS, load_handler, publish
from helpers import micro_config, settle, write_tone
from hub_server import HubServer

from mulap_hf import MulapForAudioClassification, MulapModel, load_audio


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    """A Hub, empty at first, that the tests of a module share."""
    with HubServer() as server:
        yield server


@pytest.fixture(scope="session")
def base_model() -> MulapModel:
    return settle(MulapModel(micro_config(projection_size=16)))


@pytest.fixture(scope="session")
def classifier() -> MulapForAudioClassification:
    labels = {"id2label": dict(enumerate(LABELS)), "problem_type": "multi_label_classification"}
    return settle(MulapForAudioClassification(micro_config(**labels)))


@pytest.fixture(scope="session")
def base(base_model, processor, tmp_path_factory):
    return load_handler(publish(base_model, processor, tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="session")
def tagger_folder(classifier, processor, tmp_path_factory) -> Path:
    return publish(classifier, processor, tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="session")
def tagger(tagger_folder):
    return load_handler(tagger_folder)[1]


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, bytes]:
    """The same second of mono audio at the model's rate, as a file of each kind."""
    folder = tmp_path_factory.mktemp("files")
    for kind in FORMATS:
        write_tone(folder / f"tone.{kind}")
    return {kind: (folder / f"tone.{kind}").read_bytes() for kind in FORMATS}


@pytest.fixture(scope="session")
def waveform(files) -> torch.Tensor:
    return torch.from_numpy(load_audio(files["wav"]))
