"""The audio backbone: its log-mel, its chunks, and that nothing but a clip's own samples changes its embedding."""

import pytest
import torch
import torchaudio
from helpers import CHUNK, RATE, ROOT, assert_near, inputs, micro_config, settle, waveforms
from safetensors.torch import load_file

from mulap_hf import MulapAudioConfig, MulapAudioModel
from mulap_hf.modeling_mulap_spectrum import MulapLogMel, mel_filters


@pytest.fixture
def backbone() -> MulapAudioModel:
    return settle(MulapAudioModel(micro_config().audio_config))


def test_published_sizes():
    config = MulapAudioConfig()
    assert config.frontend_size == 561
    assert config.feature_size == 1506
    model = MulapAudioModel(config)
    assert [tuple(conv.conv.kernel_size) for conv in model.musicnn.timbral] == [(67, 7), (38, 7)]
    with torch.no_grad():
        output = model.eval()(waveforms(1, 48000), output_hidden_states=True)
    assert output.last_hidden_state.shape == (1, 1, 1506)
    assert [tuple(stage.shape) for stage in output.hidden_states] == [(1, 1, 188, 561)] + [(1, 1, 188, 64)] * 3


@pytest.mark.parametrize("config", [MulapAudioConfig(), micro_config().audio_config], ids=["published", "micro"])
def test_log_mel_is_torchaudios(config):
    filters = torchaudio.functional.melscale_fbanks(
        config.n_fft // 2 + 1, config.f_min, config.f_max, config.num_mel_bins, config.sampling_rate
    )
    torch.testing.assert_close(mel_filters(config), filters, atol=2e-5, rtol=0)  # theirs is computed in float32
    spectrogram = torchaudio.transforms.MelSpectrogram(
        config.sampling_rate, config.n_fft, hop_length=config.hop_length, n_mels=config.num_mel_bins
    )
    decibels = torchaudio.transforms.AmplitudeToDB("power", top_db=config.top_db)
    waveform = waveforms(1, config.chunk_length)
    torch.testing.assert_close(MulapLogMel(config)(waveform), decibels(spectrogram(waveform)), atol=2e-3, rtol=0)


def test_mel_filters_are_those_of_published_weights():
    folder = ROOT / "model_cards" / "mulap-tiny"
    stored = load_file(folder / "model.safetensors")["audio_model.log_mel.mel_filters"]
    assert torch.equal(mel_filters(MulapAudioConfig.from_pretrained(folder)), stored)


def test_decibels_are_clamped_per_chunk():
    log_mel = MulapLogMel(MulapAudioConfig())
    tone = torch.sin(torch.arange(48000) * 0.3)[None]  # its quiet bands lie 80 dB and more below
    alone = log_mel(tone * 1e-3)
    assert (alone == alone.min()).float().mean() > 0.1
    torch.testing.assert_close(alone.min(), alone.max() - 80, atol=1e-4, rtol=0)
    beside_loud = log_mel(torch.cat([tone * 1e-3, torch.randn(1, 48000)]))[:1]
    assert torch.equal(alone, beside_loud)


@torch.no_grad()
def test_same_clip_same_embedding(backbone):
    clip = waveforms(2, 3 * CHUNK)
    assert torch.equal(backbone(clip).pooler_output, backbone(clip.clone()).pooler_output)


@torch.no_grad()
def test_batch_and_padding_change_nothing(backbone):
    batch = inputs(batch=3)
    values, mask = batch["input_values"], batch["audio_attention_mask"]
    together = backbone(values.masked_fill(mask == 0, float("nan")), mask)
    for row in range(3):
        alone = backbone(values[row : row + 1, : mask[row].sum()])
        chunks = alone.last_hidden_state.shape[1]
        assert_near(together.last_hidden_state[row, :chunks], alone.last_hidden_state[0])
        assert_near(together.pooler_output[row], alone.pooler_output[0])
        assert together.chunk_mask[row].tolist() == [1] * chunks + [0] * (3 - chunks)
        assert (together.last_hidden_state[row, chunks:] == 0).all()


@torch.no_grad()
def test_track_is_its_chunks(backbone):
    track = waveforms(1, 4 * CHUNK + CHUNK // 2)
    output = backbone(track)
    assert output.last_hidden_state.shape[1] == 4  # the incomplete fifth is dropped
    for index in range(4):
        chunk = backbone(track[:, index * CHUNK : (index + 1) * CHUNK])
        assert_near(output.last_hidden_state[:, index], chunk.last_hidden_state[:, 0])
    torch.testing.assert_close(output.pooler_output, output.last_hidden_state.mean(dim=1))


@torch.no_grad()
def test_short_clip_is_padded_with_silence(backbone):
    clip = waveforms(1, CHUNK // 4)
    padded = torch.nn.functional.pad(clip, (0, CHUNK - CHUNK // 4))
    assert torch.equal(backbone(clip).pooler_output, backbone(padded).pooler_output)


@torch.no_grad()
def test_micro_batches_bound_memory_and_change_nothing(backbone):
    seen = []
    backbone.musicnn.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    track = waveforms(1, 11 * CHUNK)
    backbone.config.chunk_batch_size = 4
    bounded = backbone(track, output_hidden_states=True)
    backbone.config.chunk_batch_size = 100
    whole = backbone(track, output_hidden_states=True)
    assert seen == [4, 4, 3, 11]
    assert_near(bounded.last_hidden_state, whole.last_hidden_state)
    for one, other in zip(bounded.hidden_states, whole.hidden_states, strict=True):
        assert_near(one, other)


def test_padding_does_not_reach_batch_norm(backbone):
    batch = inputs(batch=2)
    values, mask = batch["input_values"], batch["audio_attention_mask"]
    other = settle(MulapAudioModel(backbone.config))
    backbone.train()(values, mask)
    real = values.unflatten(1, (3, CHUNK))[mask.unflatten(1, (3, CHUNK)).all(dim=2)]
    other.train()(real)
    for name, value in backbone.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], msg=name)


@torch.no_grad()
def test_hidden_states_make_the_features(backbone):
    output = backbone(
        **{k: v for k, v in inputs().items() if "input_values" in k or "audio" in k}, output_hidden_states=True
    )
    joint = torch.cat(output.hidden_states, dim=-1)  # (batch, chunks, frames, channels)
    features = torch.cat([joint.amax(dim=2), joint.mean(dim=2)], dim=-1)
    torch.testing.assert_close(features, output.last_hidden_state)
    assert backbone(waveforms(1, CHUNK)).hidden_states is None


@torch.no_grad()
def test_silence_is_finite(backbone):
    assert backbone(torch.zeros(1, CHUNK)).pooler_output.isfinite().all()


@pytest.mark.parametrize(
    ("values", "mask", "message"),
    [
        (torch.zeros(CHUNK), None, r"shape \(4800,\).*\(batch, samples\)"),
        (torch.zeros(1, 2, CHUNK), None, r"shape \(1, 2, 4800\)"),
        (torch.zeros(1, 0), None, r"shape \(1, 0\)"),
        (torch.zeros(1, CHUNK), torch.ones(1, 10), r"audio_attention_mask has shape \(1, 10\)"),
    ],
)
def test_wrong_shapes_are_refused(backbone, values, mask, message):
    with pytest.raises(ValueError, match=message):
        backbone(values, mask)


@torch.no_grad()
def test_bfloat16_keeps_the_log_mel_exact(backbone):
    clip = waveforms(2, 2 * CHUNK)
    expected = backbone(clip).pooler_output
    window = backbone.log_mel.window.clone()
    half = backbone.to(torch.bfloat16)
    assert half.log_mel.window.dtype == half.log_mel.mel_filters.dtype == torch.float32
    assert torch.equal(half.log_mel.window, window)
    output = half(clip).pooler_output
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, atol=0.1, rtol=0.05)


@torch.no_grad()
def test_loading_in_half_precision_keeps_the_log_mel_exact(backbone, tmp_path):
    backbone.save_pretrained(tmp_path)
    half = MulapAudioModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half.log_mel.window, backbone.log_mel.window)
    assert torch.equal(half.log_mel.mel_filters, backbone.log_mel.mel_filters)


@torch.no_grad()
def test_export_with_any_batch_and_length(backbone):
    batch, chunks = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("chunks", min=2, max=64)
    values = waveforms(2, 3 * CHUNK)
    mask = torch.ones_like(values, dtype=torch.long)
    shape = {0: batch, 1: CHUNK * chunks}
    program = torch.export.export(backbone, (values, mask), dynamic_shapes=(shape, shape))
    batch = inputs(batch=3, chunks=5)
    values, mask = batch["input_values"], batch["audio_attention_mask"]
    expected = backbone(values, mask)
    exported = program.module()(values, mask)
    assert_near(exported.last_hidden_state, expected.last_hidden_state)
    assert torch.equal(exported.chunk_mask, expected.chunk_mask)


@torch.no_grad()
def test_compiles_to_one_graph(backbone):
    batch = inputs()
    values, mask = batch["input_values"], batch["audio_attention_mask"]
    compiled = torch.compile(backbone, fullgraph=True, backend="aot_eager")
    assert_near(compiled(values, mask).pooler_output, backbone(values, mask).pooler_output)


def test_rate_is_in_the_configuration(backbone):
    assert backbone.config.sampling_rate == RATE
    assert backbone.config.chunk_seconds == pytest.approx(0.3)
