"""MuLaP in sentence-transformers: its embeddings are this package's, of every form of text and audio."""

import shutil
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers import CAPTIONS, CHUNK, RATE, micro_config, save_both, settle, waveforms
from sentence_transformers import SentenceTransformer

from mulap_hf import MulapAudioModel, MulapFeatureExtractor, MulapForAudioClassification, MulapModel, MulapProcessor

JOINT = {"projection_size": 16, "contrastive_loss_weight": 1.0}


@pytest.fixture(scope="module")
def folder(processor, tmp_path_factory):
    return save_both(settle(MulapModel(micro_config(**JOINT))), processor, tmp_path_factory.mktemp("joint") / "model")


@pytest.fixture(scope="module")
def sentences(folder) -> SentenceTransformer:
    return SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")


def clips() -> list[np.ndarray]:
    """Of different lengths, one of them shorter than a chunk."""
    lengths = [4 * CHUNK + 11, CHUNK // 2, 2 * CHUNK]
    return [wave[:length].numpy() for wave, length in zip(waveforms(3, 4 * CHUNK + 11), lengths, strict=True)]


@torch.no_grad()
def expected_audio(folder) -> np.ndarray:
    model = MulapModel.from_pretrained(folder).eval()
    rows = [model.get_audio_features(torch.from_numpy(clip)[None]).pooler_output for clip in clips()]
    return torch.cat(rows).numpy()


@torch.no_grad()
def expected_texts(folder, processor) -> np.ndarray:
    return (
        MulapModel.from_pretrained(folder).eval().get_text_features(**processor(text=CAPTIONS)).pooler_output.numpy()
    )


def test_embeddings_are_the_models_own(folder, sentences, processor):
    audio, texts = expected_audio(folder), expected_texts(folder, processor)
    np.testing.assert_allclose(sentences.encode(CAPTIONS), texts, atol=1e-5)
    np.testing.assert_allclose(sentences.encode(clips()), audio, atol=1e-5)
    np.testing.assert_allclose(sentences.encode_query(CAPTIONS[0]), texts[0], atol=1e-5)
    np.testing.assert_allclose(sentences.encode_document(clips(), batch_size=2), audio, atol=1e-5)
    mixed = [clips()[1], CAPTIONS[3], {"text": CAPTIONS[0]}, {"audio": clips()[0]}]
    found = sentences.encode(mixed)
    np.testing.assert_allclose(found, np.stack([audio[1], texts[3], texts[0], audio[0]]), atol=1e-5)
    np.testing.assert_allclose(sentences.similarity(found, texts), found @ texts.T, atol=1e-5)
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert sentences.get_embedding_dimension() == 16
    assert sentences.max_seq_length == 32


class Decoder:
    """As torchcodec's AudioDecoder, of which only this is used."""

    def __init__(self, samples: np.ndarray, rate: int):
        self.data, self.sample_rate = torch.from_numpy(samples)[None], rate

    def get_all_samples(self):
        return self


def test_forms_of_audio(folder, sentences, tmp_path):
    clip, expected = clips()[0], expected_audio(folder)[0]
    path = tmp_path / "song.wav"
    sf.write(path, clip, RATE, subtype="FLOAT")
    forms = [
        str(path),
        path,
        path.read_bytes(),
        {"bytes": path.read_bytes(), "path": None},
        {"array": clip, "sampling_rate": RATE},
        {"audio": {"array": np.stack([clip, clip]), "sampling_rate": RATE}},
        torch.from_numpy(clip),
        Decoder(clip, RATE),
    ]
    for form in forms:
        np.testing.assert_allclose(sentences.encode(form), expected, atol=1e-5)
    np.testing.assert_allclose(sentences.encode(forms), np.tile(expected, (len(forms), 1)), atol=1e-5)
    (tmp_path / "no_suffix").write_bytes(path.read_bytes())
    np.testing.assert_allclose(sentences.encode(str(tmp_path / "no_suffix")), expected, atol=1e-5)
    slow = sentences.encode(clip, processing_kwargs={"audio": {"sampling_rate": 8000}})
    np.testing.assert_allclose(slow, sentences.encode({"array": clip, "sampling_rate": 8000}), atol=1e-6)


def test_long_files_take_no_memory(sentences, tmp_path):
    seconds = 300
    sf.write(tmp_path / "long.wav", np.zeros(seconds * RATE, dtype=np.float32), RATE)
    tracemalloc.start()
    sentences.encode([tmp_path / "long.wav"] * 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < seconds * RATE * 4 / 2  # bytes of half a track


def test_configured_crop(folder, sentences, processor, tmp_path):
    cropped = tmp_path / "cropped"
    shutil.copytree(folder, cropped)
    MulapProcessor(MulapFeatureExtractor(crop="first", max_seconds=0.7), processor.tokenizer).save_pretrained(cropped)
    first = SentenceTransformer(str(cropped), trust_remote_code=True, device="cpu").encode(clips())
    expected = sentences.encode([clip[: round(0.7 * RATE)] for clip in clips()])
    np.testing.assert_allclose(first, expected, atol=1e-6)


def test_arrays_without_a_rate_are_reported(sentences, monkeypatch):
    messages = []
    module = sys.modules[type(sentences[0].feature_extractor).__module__]
    monkeypatch.setattr(module.logger, "warning_once", messages.append)
    sentences.encode([{"array": clips()[0], "sampling_rate": RATE}])
    assert not messages
    sentences.encode(clips())
    assert "are taken to have 16000 Hz" in messages[0]


def test_what_is_refused(sentences, tmp_path):
    for missing in ("missing.mp3", str(tmp_path / "my song.mp3")):
        with pytest.raises(ValueError, match=f"{missing}: the file does not exist"):
            sentences.encode([missing])
    for text in ("how to make an .mp3", "https://example.com.au"):
        assert sentences.encode(text).shape == (16,)
    with pytest.raises(ValueError, match=r"audio 0 of this batch, .* by length, has 1 sample that is NaN"):
        sentences.encode([np.array([0.0, np.nan])])
    with pytest.raises(TypeError, match=r"holds <U1 values \(\['a', 'b'\]\), not samples.* not nested"):
        sentences.encode([["a", "b"]])
    with pytest.raises(ValueError, match=r"'text' and 'audio' .the text is 'calm'.*pass them as two inputs"):
        sentences.encode({"text": "calm", "audio": clips()[0]})
    with pytest.raises(ValueError, match="this is a folder"):
        sentences.encode(str(tmp_path))
    with pytest.raises(TypeError, match="'vision'"):
        sentences.encode(CAPTIONS, processing_kwargs={"vision": {}})
    with pytest.raises(TypeError, match="'sampling_rat': did you mean 'sampling_rate'"):
        sentences.encode(clips(), processing_kwargs={"audio": {"sampling_rat": 1}})


@pytest.mark.parametrize("cls", [MulapAudioModel, MulapForAudioClassification, MulapModel])
def test_models_without_a_joint_space_encode_audio(cls, processor, tmp_path):
    config = micro_config()
    model = settle(cls(config.audio_config if cls is MulapAudioModel else config))
    folder = save_both(model, processor, tmp_path / "model")
    sentences = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
    backbone = getattr(model, "audio_model", model)
    with torch.no_grad():
        expected = torch.cat([backbone(torch.from_numpy(clip)[None]).pooler_output for clip in clips()])
    expected = torch.nn.functional.normalize(expected, dim=1)
    np.testing.assert_allclose(sentences.encode(clips()), expected, atol=1e-5)
    assert sentences.get_embedding_dimension() == config.audio_config.feature_size
    with pytest.raises(ValueError, match=r"text"):
        sentences.encode(CAPTIONS)
