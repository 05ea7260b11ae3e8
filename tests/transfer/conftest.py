"""Fixtures of the tests of transfer."""

from pathlib import Path

import pytest
from helpers import micro_config, settle
from tones import write_dataset

from mulap_hf import MulapForPreTraining, MulapProcessor


@pytest.fixture
def dataset(tmp_path) -> Path:
    return write_dataset(tmp_path / "tones")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, processor: MulapProcessor) -> Path:
    """A pre-trained MuLaP, as far as anybody can tell."""
    folder = tmp_path_factory.mktemp("models") / "micro"
    settle(MulapForPreTraining(micro_config())).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def aligned_folder(tmp_path_factory, processor: MulapProcessor) -> Path:
    """One with a space shared by clips and texts."""
    folder = tmp_path_factory.mktemp("aligned")
    settle(MulapForPreTraining(micro_config(projection_size=16, matching_similarity=True))).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
