"""Parts from pre-trained models: BERT's function, a tagger's backbone."""

import json

import pytest
import torch
from helpers import micro_config, settle
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

from mulap_hf import MulapAudioModel, MulapForAudioClassification, MulapForPreTraining
from mulap_hf.errors import ModelError
from mulap_hf.loading import load_backbone, load_bert, open_backbone, saved_kind, text_config_from_bert


@pytest.fixture
def bert(tmp_path) -> BertModel:
    config = BertConfig(
        vocab_size=90, hidden_size=24, num_hidden_layers=4, num_attention_heads=3, intermediate_size=40,
        max_position_embeddings=50, hidden_act="gelu_new",
    )  # fmt: skip
    model = settle(BertModel(config))
    model.save_pretrained(tmp_path / "bert")
    return model


@torch.no_grad()
def test_text_stream_is_berts_first_layers(bert, tmp_path):
    model = MulapForPreTraining(micro_config(text_config=text_config_from_bert(tmp_path / "bert", 2))).eval()
    load_bert(model, tmp_path / "bert")
    ids = torch.randint(0, 90, (2, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 12, [1] * 7 + [0] * 5])
    expected = bert(ids, attention_mask=mask, output_hidden_states=True).hidden_states
    stream = model.start_text(ids, mask, output_hidden_states=True)  # one layer before the first connection
    torch.testing.assert_close(stream.hidden_states[0], expected[0])
    torch.testing.assert_close(stream.states[mask.bool()], expected[1][mask.bool()])
    rest = model._run(model.text_layers[1:], stream)
    torch.testing.assert_close(rest.states[mask.bool()], expected[2][mask.bool()])
    assert model.mlm_head.decoder.weight is model.text_embeddings.word_embeddings.weight


def test_bert_that_does_not_fit(bert, tmp_path):
    with pytest.raises(ModelError, match="4 layers, 6 were asked for"):
        text_config_from_bert(tmp_path / "bert", 6)
    with pytest.raises(ModelError, match=r"word_embeddings.weight is \(90, 24\), the model wants \(120, 32\)"):
        load_bert(MulapForPreTraining(micro_config()), tmp_path / "bert")
    ViTModel(
        ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path / "vit")
    with pytest.raises(ModelError, match="'vit'"):
        text_config_from_bert(tmp_path / "vit")
    with pytest.raises(ModelError, match="found neither as a folder nor on the Hub"):
        text_config_from_bert(tmp_path / "nowhere")


def test_backbone_from_a_tagger(tmp_path):
    tagger = settle(MulapForAudioClassification(micro_config(num_labels=3)))
    tagger.save_pretrained(tmp_path / "tagger")
    model = MulapForPreTraining(micro_config())
    load_backbone(model, tmp_path / "tagger")
    for name, value in tagger.audio_model.state_dict().items():
        assert torch.equal(value, model.audio_model.state_dict()[name]), name
    MulapAudioModel(micro_config(audio_config={"n_fft": 512}).audio_config).save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match="n_fft=512, the model 256"):
        load_backbone(model, tmp_path / "other")


def test_folders_that_cannot_be_loaded(bert, model, tmp_path):
    folder = tmp_path / "mulap"
    model.save_pretrained(folder)

    def refused(message: str, load, folder):
        with pytest.raises(ModelError, match=f"{folder}: cannot be loaded: {message}") as caught:
            load(folder)
        assert "\n" not in str(caught.value)

    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    refused("Error while deserializing header", open_backbone, folder)
    weights.unlink()
    refused("Error no file named model.safetensors", open_backbone, folder)
    config = json.loads((folder / "config.json").read_text())
    config["audio_config"]["midend_length"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    for load in (open_backbone, saved_kind, text_config_from_bert):
        refused("midend_length=4 must be odd", load, folder)
    (tmp_path / "bert" / "model.safetensors").unlink()
    refused("Error no file named model.safetensors", lambda bert: load_bert(model, bert), tmp_path / "bert")
