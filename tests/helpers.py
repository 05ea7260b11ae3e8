"""What several tests share: a model small enough for milliseconds, sounds, processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from mulap_hf import MulapConfig

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
WITHOUT_PACKAGE = {"PYTHONPATH": str(Path(__file__).parent / "without_package")}  # variables of a process
RATE = 16000
CHUNK = 4800  # samples of a chunk of the micro model

CAPTIONS = ["a calm piano piece", "loud rock guitars", "fast techno beat with synth", "slow sad violin", "happy folk"]


def micro_config(**overrides) -> MulapConfig:
    streams = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    text = {**streams, "vocab_size": 120, "max_position_embeddings": 32, **overrides.pop("text_config", {})}
    audio = {
        **streams,
        "chunk_length": CHUNK,
        "n_fft": 256,
        "num_mel_bins": 24,
        "timbral_channels": 4,
        "temporal_channels": 3,
        "temporal_lengths": [9, 5],
        "midend_channels": 6,
        **overrides.pop("audio_config", {}),
    }
    sizes = {"connection_hidden_size": 32, "connection_num_heads": 4, "pooled_size": 24}
    layers = {"connection_text_layers": [1, 2], "connection_audio_layers": [0, 1]}
    return MulapConfig(text_config=text, audio_config=audio, **{**sizes, **layers, **overrides})


def settle(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights throughout, BatchNorm statistics and LayerNorms included, so that no mistake cancels out."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not value.is_floating_point() or "log_mel" in name:
                continue
            noise = torch.randn(value.shape, generator=generator)
            scale = 1 if value.dim() < 2 else value[0].numel() ** -0.5
            value.copy_(noise.abs() + 0.5 if name.endswith("running_var") else noise * scale + ("norm.weight" in name))
    return model.eval()


def assert_near(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5):
    """Equal to a share of the largest expected value."""
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error <= tolerance, f"relative to the largest value the error is {error:.2e}, over {tolerance}"


def save_both(model, processor, folder: Path) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def waveforms(batch: int, samples: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    loudness = torch.linspace(0.02, 0.3, samples)  # so that chunks differ
    return torch.randn(batch, samples, generator=generator) * loudness


def inputs(batch: int = 3, chunks: int = 3, tokens: int = 10, seed: int = 0) -> dict[str, torch.Tensor]:
    """Clips and texts of different lengths, with their masks."""
    generator = torch.Generator().manual_seed(seed)
    audio_lengths = torch.tensor([chunks * CHUNK - index * (CHUNK + 7) for index in range(batch)]).clamp(
        min=CHUNK // 3
    )
    text_lengths = torch.tensor([tokens - 2 * index for index in range(batch)]).clamp(min=3)
    return {
        "input_values": waveforms(batch, chunks * CHUNK, seed),
        "input_ids": torch.randint(5, 120, (batch, tokens), generator=generator),
        "audio_attention_mask": (torch.arange(chunks * CHUNK) < audio_lengths[:, None]).long(),
        "attention_mask": (torch.arange(tokens) < text_lengths[:, None]).long(),
    }


def write_tone(path: Path, seconds: float = 1.0, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """A chord in noise, `(samples, channels)`, as an audio file of whatever kind the name says."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    chord = sum(np.sin(2 * np.pi * frequency * time) for frequency in rng.uniform(100, 2000, 3)) / 6
    samples = np.stack([chord * (1 - 0.3 * channel) for channel in range(channels)], axis=1)
    samples = (samples + rng.normal(0, 0.01, samples.shape)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, samples, rate)
    return samples


def run(*command: str, env: dict[str, str] | None = None, **options) -> subprocess.CompletedProcess:
    """A real process, one thread; offline unless `env`, which goes on top of this process's variables, differs."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TQDM_MININTERVAL": "5", **(env or {})}
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=300, env=environment, **options
    )


def run_without_package(code: str, *arguments, env: dict[str, str] | None = None, **options):
    """`run("-c", code, *arguments)` as where mulap_hf is not installed: it and its children cannot import it."""
    return run("-c", code, *arguments, env={**(env or {}), **WITHOUT_PACKAGE}, **options)


def errors_of(script: Path, *runs: list, **how) -> list[str]:
    """The messages with which a script fails, run after run in one process, whose start takes longer than all of them.

    Args:
        script: its path.
        runs: the options of each.
        how: see `run`.
    """
    code = """
import contextlib, io, json, runpy, sys
script, messages = sys.argv[1], []
for options in json.loads(sys.argv[2]):
    sys.argv = [script, *options]
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            runpy.run_path(script, run_name="__main__")
    except SystemExit as stop:
        assert stop.code == 1, stop.code
        messages.append(errors.getvalue().splitlines()[-1])
print(json.dumps(messages))
"""
    result = run("-c", code, script, json.dumps([list(map(str, options)) for options in runs]), **how)
    assert result.returncode == 0, result.stderr
    messages = json.loads(result.stdout.splitlines()[-1])
    assert len(messages) == len(runs)
    return messages
