"""Fixtures that several tests share."""

import os
from pathlib import Path

import pytest

# Of all processes, and before torch is imported: two workers with two threads each wait for each other's cores.
os.environ["OMP_NUM_THREADS"] = "1"

from helpers import CAPTIONS, ROOT, micro_config, settle

from mulap_hf import MulapFeatureExtractor, MulapForPreTraining, MulapProcessor
from mulap_hf.tokenization import train_tokenizer


@pytest.fixture(scope="session")
def reference() -> Path:
    """Data that may not be in the repository: a real MusiCNN and a real clip."""
    folder = Path(os.environ.get("MULAP_REFERENCE", ROOT.parent / "shared" / "reference"))
    if not folder.is_dir():
        pytest.skip(f"no reference data in {folder}; set MULAP_REFERENCE")
    return folder


@pytest.fixture
def model() -> MulapForPreTraining:
    return settle(MulapForPreTraining(micro_config()))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A saved model without a processor."""
    folder = tmp_path_factory.mktemp("model")
    settle(MulapForPreTraining(micro_config())).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def processor() -> MulapProcessor:
    return MulapProcessor(MulapFeatureExtractor(), train_tokenizer(CAPTIONS * 3, vocab_size=120, max_length=32))
