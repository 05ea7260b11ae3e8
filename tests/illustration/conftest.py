"""Fixtures of the tests of `mulap_hf.illustration`."""

import importlib.util
from pathlib import Path

import pytest
from helpers import ROOT, micro_config, settle
from tones import SIZES, TASKS, write_dataset

from mulap_hf import MulapForAudioClassification, MulapForPreTraining, MulapModel
from mulap_hf.illustration.data_split import DataSplit
from mulap_hf.transfer.features import FeatureCache
from mulap_hf.transfer.pair_scores import PairScorer
from mulap_hf.transfer.tasks import open_described

SOUNDS = TASKS[1].classes


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "tones", {**SIZES, "train": 2, "validation": 2})


@pytest.fixture
def split(dataset) -> DataSplit:
    return DataSplit(open_described(dataset), "test")


@pytest.fixture
def cache(tmp_path) -> FeatureCache:
    return FeatureCache(tmp_path / "features", progress=False)


@pytest.fixture(scope="session")
def folders(tmp_path_factory, processor) -> dict[str, Path]:
    """One model of each kind.

    "aligned" has a joint embedding space and co-attention; "dual" is a dual encoder; "tagger" and "regressor" have
    heads.
    """
    sizes = {"projection_size": 16}
    sounds = {"id2label": dict(enumerate(SOUNDS)), "problem_type": "multi_label_classification"}
    models = {
        "aligned": MulapForPreTraining(micro_config(**sizes)),
        "dual": MulapModel(micro_config(**sizes, connection_text_layers=[], connection_audio_layers=[])),
        "tagger": MulapForAudioClassification(micro_config(**sounds)),
        "regressor": MulapForAudioClassification(micro_config(num_labels=2, problem_type="regression")),
    }
    place = tmp_path_factory.mktemp("models")
    for name, model in models.items():
        settle(model).save_pretrained(place / name)
        processor.save_pretrained(place / name)
    return {name: place / name for name in models}


@pytest.fixture
def scorer(folders) -> PairScorer:
    return PairScorer(folders["aligned"], "cpu", progress=False)


@pytest.fixture(scope="session")
def main():
    """The main function of training/illustrate.py."""
    spec = importlib.util.spec_from_file_location("illustrate_script", ROOT / "training" / "illustrate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main
