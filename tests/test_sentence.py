"""MuLaP in sentence-transformers: its embeddings are this package's, of every form of text and audio."""

import json
import tracemalloc

import numpy as np
import pytest
import soundfile as sf
import torch
from datasets import Dataset
from helpers import CAPTIONS, CHUNK, RATE, micro_config, run_without_package, save_both, settle, waveforms
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from mulap_hf import MulapAudioModel, MulapForAudioClassification, MulapModel

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


def test_what_is_refused(sentences, tmp_path):
    for missing in ("missing.mp3", str(tmp_path / "my song.mp3")):
        with pytest.raises(ValueError, match=f"{missing}: the file does not exist"):
            sentences.encode([missing])
    for text in ("how to make an .mp3", "https://example.com.au"):
        assert sentences.encode(text).shape == (16,)
    with pytest.raises(ValueError, match="audio 0 of this batch has 1 sample that is NaN"):
        sentences.encode([np.array([0.0, np.nan])])
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


def test_fine_tuning_lowers_the_loss_and_is_saved(folder, tmp_path):
    sentences = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
    rows = [{"array": clip.tolist(), "sampling_rate": RATE} for clip in waveforms(4, 2 * CHUNK, seed=3).numpy()]
    data = Dataset.from_dict({"audio": rows, "caption": CAPTIONS[:4]})
    arguments = SentenceTransformerTrainingArguments(
        str(tmp_path / "run"), max_steps=12, per_device_train_batch_size=4, learning_rate=3e-3, logging_steps=1,
        report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no", lr_scheduler_type="constant",
    )  # fmt: skip
    trainer = SentenceTransformerTrainer(
        sentences, arguments, train_dataset=data, loss=MultipleNegativesRankingLoss(sentences)
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert np.mean(losses[-3:]) < 0.7 * losses[0], losses
    sentences.save_pretrained(str(tmp_path / "tuned"))
    again = SentenceTransformer(str(tmp_path / "tuned"), trust_remote_code=True, device="cpu")
    np.testing.assert_allclose(
        again.encode([*clips(), CAPTIONS[0]]), sentences.encode([*clips(), CAPTIONS[0]]), atol=1e-6
    )


ENCODE = """
import json, sys, numpy
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], trust_remote_code=True, device="cpu")
model.save_pretrained(sys.argv[3])  # and once more from there
again = SentenceTransformer(sys.argv[3], trust_remote_code=True, device="cpu")
print("FOUND" + json.dumps([each.encode(sys.argv[2:3] + sys.argv[4:]).tolist() for each in (model, again)]))
"""


def test_folder_where_the_package_is_not_installed(folder, sentences, tmp_path):
    sf.write(tmp_path / "song.flac", clips()[0] / 8, RATE)
    result = run_without_package(ENCODE, folder, tmp_path / "song.flac", tmp_path / "again", *CAPTIONS, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    expected = sentences.encode([str(tmp_path / "song.flac"), *CAPTIONS])
    for found in json.loads(result.stdout.split("FOUND")[1]):
        np.testing.assert_allclose(found, expected, atol=1e-5)
