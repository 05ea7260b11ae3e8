"""Configurations: presets, saving, and what they refuse."""

import json
import runpy

import pytest
from helpers import ROOT
from huggingface_hub.errors import StrictDataclassError

from mulap_hf import MulapAudioConfig, MulapConfig, MulapTextConfig


def test_defaults_are_published():
    config = MulapConfig()
    assert config.to_dict() == MulapConfig.from_preset("published").to_dict()
    text, audio = config.text_config, config.audio_config
    assert (text.num_hidden_layers, text.hidden_size, text.vocab_size) == (6, 768, 30522)
    assert (audio.num_hidden_layers, audio.hidden_size, audio.feature_size) == (6, 256, 1506)
    assert (config.mlm_loss_weight, config.mam_loss_weight, config.matching_loss_weight) == (0.1, 4.0, 2.0)


def test_preset_with_changes():
    config = MulapConfig.from_preset("tiny", text_config={"vocab_size": 77}, fusion="sum")
    assert (config.text_config.vocab_size, config.text_config.hidden_size, config.fusion) == (77, 96, "sum")
    assert config.audio_config.num_mel_bins == 48
    with pytest.raises(ValueError, match=r"preset 'huge' does not exist; there are \['published', 'small', 'tiny'\]"):
        MulapConfig.from_preset("huge")


def test_save_and_load(tmp_path):
    config = MulapConfig.from_preset("tiny", id2label={0: "a", 1: "b", 2: "c"})
    config.save_pretrained(tmp_path)
    loaded = MulapConfig.from_pretrained(tmp_path)
    assert json.dumps(loaded.to_dict()) == json.dumps(config.to_dict())
    assert loaded.num_labels == 3
    assert MulapTextConfig.from_pretrained(tmp_path).hidden_size == 96
    assert MulapAudioConfig.from_pretrained(tmp_path).hop_length == 512


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text_config": {"hidden_size": 70}}, "text_config.hidden_size=70 must be a multiple of .* heads, 12"),
        ({"audio_config": {"midend_length": 4}}, "midend_length=4 must be odd"),
        ({"audio_config": {"temporal_lengths": [8]}}, "temporal_lengths=.* must be odd"),
        ({"audio_config": {"f_max": 9000.0}}, "f_max=9000.0 Hz is above half of sampling_rate=16000"),
        ({"audio_config": {"chunk_length": 100}}, "chunk_length=100 is shorter than one window"),
        ({"audio_config": {"f_min": 8000.0}}, "f_min=8000.0 Hz must not be negative, and below f_max=8000.0 Hz"),
        ({"audio_config": {"f_min": -1.0}}, "f_min=-1.0 Hz must not be negative"),
        ({"audio_config": {"timbral_heights": [1.2]}}, "must be fractions"),
        ({"audio_config": {"timbral_heights": [0.7, 0.01]}}, "0.01.* must be fractions of num_mel_bins=96, at least"),
        (
            {"audio_config": {"max_position_embeddings": 1}},
            "audio_config.max_position_embeddings=1 must be at least",
        ),
        ({"text_config": {"max_position_embeddings": 0}}, "text_config.max_position_embeddings=0 must be at least 1"),
        ({"pair_batch_size": 0}, "pair_batch_size=0 at least 1"),
        ({"audio_config": {"chunk_batch_size": 0}}, "chunk_batch_size=0"),
        ({"connection_text_layers": [4]}, "one entry each per connection"),
        ({"connection_text_layers": [6, 7]}, "goes beyond the 6 layers"),
        ({"connection_audio_layers": [1, 0]}, "must be ascending"),
        (
            {"connection_text_layers": [], "connection_audio_layers": []},
            "needs a joint embedding space of clips",
        ),
        ({"connection_num_heads": 7}, "connection_hidden_size=1024 must be a multiple"),
        ({"fusion": "concat"}, "fusion.*expected one of"),
        ({"mam_loss": "l1"}, "mam_loss.*expected one of"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, message):
    with pytest.raises(StrictDataclassError, match=f"(?s){message}"):
        MulapConfig(**fields)


def test_older_transformers_are_refused_by_name(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda package: "4.57.6")
    with pytest.raises(ImportError, match=r"transformers>=5.10 is required .* found transformers==4.57.6"):
        runpy.run_path(ROOT / "src" / "mulap_hf" / "configuration_mulap.py")
