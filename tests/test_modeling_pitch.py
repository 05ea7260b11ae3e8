"""The pitch branch of the backbone: what its features tell, and that they are the same in every batch."""

import pytest
import torch
from transformers import AutoModel

from mulap_hf import MulapAudioConfig, MulapAudioModel
from mulap_hf.configuration_mulap import PRESETS
from mulap_hf.modeling_mulap_spectrum import MulapSemitones

RATE = 16000
A4 = 33  # semitones above C2


def tone(*semitones: int, seconds: float = 3.0) -> torch.Tensor:
    """`(samples,)`: a sum of sines, in semitones above C2 (65.4 Hz)."""
    times = torch.arange(int(seconds * RATE)) / RATE
    return sum(0.1 * torch.sin(2 * torch.pi * 65.406 * 2 ** (semitone / 12) * times) for semitone in semitones)


@pytest.fixture(scope="module")
def config() -> MulapAudioConfig:
    return MulapAudioConfig(**{**PRESETS["tiny"]["audio_config"], "pitch_channels": 8})


@pytest.fixture(scope="module")
def backbone(config) -> MulapAudioModel:
    torch.manual_seed(0)
    return MulapAudioModel(config).eval()


@pytest.mark.parametrize("semitone", [0, 12, A4, 40, 47])
def test_a_sine_is_its_semitone(config, semitone):
    semitones = MulapSemitones(config)(tone(semitone)[None])[0]  # (frames, semitones)
    assert semitones.shape[1] == 48
    assert set(semitones[2:-2].argmax(dim=1).tolist()) == {semitone}


def test_level_does_not_matter_and_silence_is_zero(config):
    spectrum = MulapSemitones(config)
    loud, soft = spectrum(torch.stack([tone(A4), tone(A4) / 100]))
    torch.testing.assert_close(loud, soft, atol=1e-3, rtol=0)
    assert not spectrum(torch.zeros(1, 48000)).any()


def harmonies(backbone: MulapAudioModel, *chords: tuple[int, ...]) -> torch.Tensor:
    """`(chords, templates, roots)`: the harmony features before BatchNorm changes their scale."""
    features = backbone.pitch(torch.stack([tone(*chord) for chord in chords]))
    return features[:, : 8 * 12].unflatten(1, (8, 12))


def test_chords_have_their_template_and_root(backbone):
    c_major, a_minor, d_major = (24, 28, 31), (21, 24, 28), (26, 30, 33)
    found = harmonies(backbone, c_major, a_minor, d_major).flatten(1).argmax(dim=1).tolist()
    assert found == [0 * 12 + 0, 1 * 12 + 9, 0 * 12 + 2]  # template 0 is the major triad, 1 the minor one


def test_transposition_moves_roots_and_leaves_the_rest(backbone):
    low, high = backbone.pitch(torch.stack([tone(24, 28, 31), tone(29, 33, 36)]))
    moved = low[:96].unflatten(0, (8, 12)).roll(5, dims=1)
    torch.testing.assert_close(moved, high[:96].unflatten(0, (8, 12)), atol=0.04, rtol=0.05)
    torch.testing.assert_close(low[96 + 48 :], high[96 + 48 :], atol=0.05, rtol=0.05)


def test_off_in_the_published_model():
    config = MulapAudioConfig()
    assert config.pitch_size == 0
    assert config.feature_size == 1506


def test_features_are_the_same_in_every_batch_and_after_loading(backbone, tmp_path):
    music = torch.stack([tone(24, 28, 31, seconds=7), tone(21, 24, 28, seconds=7), torch.zeros(7 * RATE)])
    with torch.no_grad():
        together = backbone(music)
        alone = torch.cat([backbone(each[None]).last_hidden_state for each in music])
        backbone.save_pretrained(tmp_path)
        loaded = AutoModel.from_pretrained(tmp_path).eval()(music)
    assert together.last_hidden_state.shape == (3, 2, 480 + 8 * 13 + 48 + 6)
    assert together.last_hidden_state.isfinite().all()
    torch.testing.assert_close(together.last_hidden_state, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(loaded.last_hidden_state, together.last_hidden_state, atol=1e-6, rtol=1e-6)


def test_left_out_when_loading(backbone, tmp_path, caplog):
    backbone.save_pretrained(tmp_path)
    loaded = MulapAudioModel.from_pretrained(tmp_path, pitch_channels=0)
    size = loaded.config.feature_size
    assert size == backbone.config.feature_size - backbone.config.pitch_size
    chunks = tone(A4, 40)[None]
    assert torch.equal(loaded(chunks).pooler_output, backbone(chunks).pooler_output[:, :size])
    assert "UNEXPECTED" not in caplog.text


def test_templates_are_trained(config):
    torch.manual_seed(0)
    model = MulapAudioModel(config).train()
    music = torch.stack([tone(24, 28, 31), tone(21, 24, 28), tone(26, 33), tone(28)])
    model(music).last_hidden_state[..., -config.pitch_size :].square().sum().backward()
    assert model.pitch.templates.grad.abs().sum() > 0


def test_half_precision_keeps_the_spectrum_in_single(backbone):
    half = MulapAudioModel(backbone.config).eval().to(torch.bfloat16)
    assert half.pitch.semitones.window.dtype == half.pitch.semitones.filters.dtype == torch.float32
    assert half(tone(24, 28, 31)[None]).last_hidden_state.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pitch_octaves": 5}, "reach 1975.52 Hz, but pitch_decimation=6 leaves only frequencies up to 1333.33 Hz"),
        ({"pitch_n_fft": 16384}, "pitch_n_fft=16384"),
        ({"pitch_hop_length": 0}, "pitch_hop_length=0 must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(fields, message):
    with pytest.raises(Exception, match=message) as caught:
        MulapAudioConfig(pitch_channels=4, **fields)
    assert "pitch" in str(caught.value)
