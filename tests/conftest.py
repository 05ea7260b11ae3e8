"""Fixtures that several tests share, and the order of the tests.

With `pytest -n`, the process that starts the workers reads this file first, so it imports torch in its fixtures only.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mulap_hf import MulapForPreTraining, MulapProcessor

# Of all processes, and before torch is imported: two workers with two threads each wait for each other's cores.
os.environ["OMP_NUM_THREADS"] = "1"

# Files that take longest. The first two begin together: a cluster of Ray starts while the other keeps one core busy.
LONGEST = [
    "test_embedding_ray.py", "test_objectives.py", "test_compare_script.py", "test_notebooks.py", "test_publish.py",
    "test_resume.py", "test_precision.py", "test_space.py", "test_trainer_examples.py", "test_mteb.py",
    "test_growth.py", "test_readme.py", "test_onnx_export.py", "test_checkpoints.py", "test_places.py",
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]):
    """Begin with the longest files, so that no worker waits at the end for another that has just begun one."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session")
def reference() -> Path:
    """Data that may not be in the repository: a real MusiCNN and a real clip."""
    root = Path(__file__).parents[1]
    folder = Path(os.environ.get("MULAP_REFERENCE", root.parent / "shared" / "reference"))
    if not folder.is_dir():
        pytest.skip(f"no reference data in {folder}; set MULAP_REFERENCE")
    return folder


@pytest.fixture
def model() -> "MulapForPreTraining":
    return _settled_model()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A saved model without a processor."""
    folder = tmp_path_factory.mktemp("model")
    _settled_model().save_pretrained(folder)
    return folder


def _settled_model() -> "MulapForPreTraining":
    from helpers import micro_config, settle

    from mulap_hf import MulapForPreTraining

    return settle(MulapForPreTraining(micro_config()))


@pytest.fixture(scope="session")
def processor() -> "MulapProcessor":
    from helpers import CAPTIONS

    from mulap_hf import MulapFeatureExtractor, MulapProcessor
    from mulap_hf.tokenization import train_tokenizer

    return MulapProcessor(MulapFeatureExtractor(), train_tokenizer(CAPTIONS * 3, vocab_size=120, max_length=32))
