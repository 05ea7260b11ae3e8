"""What several tests share: a model small enough for milliseconds, sounds, processes."""

import importlib.util
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile as sf
import torch
from fork_server import Forked, ForkServer

from mulap_hf import MulapConfig

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
WITHOUT_PACKAGE = {"PYTHONPATH": str(Path(__file__).parent / "without_package")}  # variables of a process
# Modules that processes of the tests have imported when they start, see `fork_server`.
LIBRARIES = "matplotlib.figure pandas pyarrow.parquet scipy.signal soundfile torch.utils.tensorboard"
LIBRARIES += " torch._dynamo torch.distributed.tensor"  # half of the time that transformers takes to import
TRANSFORMERS = "datasets transformers.pipelines"
PACKAGE = "mulap_hf.publishing.arguments mulap_hf.transfer.comparison.workers mulap_hf.transfer.finetuning"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TQDM_MININTERVAL": "5"}
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
            if not value.is_floating_point() or "log_mel" in name or "semitones" in name:
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


@cache
def fork_server(kind: str) -> ForkServer:
    """A server whose forks have imported the "package", or what it needs: "transformers", or only "libraries"."""
    parent = {"libraries": None, "transformers": "libraries", "package": "transformers"}[kind]
    names = {"libraries": LIBRARIES, "transformers": TRANSFORMERS, "package": PACKAGE}[kind]
    return ForkServer(names.split(), {**os.environ, **OFFLINE}, parent and fork_server(parent))


@lru_cache(maxsize=2)
def hub_fork_server(kind: str, variables: frozenset[tuple[str, str]]) -> ForkServer:
    """The same with variables that transformers reads when it is imported: "transformers" or "package"."""
    names = {"transformers": TRANSFORMERS, "package": f"{TRANSFORMERS} {PACKAGE}"}[kind]
    return ForkServer(names.split(), {**os.environ, **dict(variables)}, fork_server("libraries"))


def start(*command, env: dict[str, str] | None = None, imported: str = "package", **options) -> Forked:
    """Start a real process of Python, offline and with one thread, by a fork of one that has imported the package.

    Args:
        command: See `ForkServer.start`.
        env: More environment variables.
        imported: See `fork_server`.
        options: See `ForkServer.start`.
    """
    variables = {name: value for name, value in (env or {}).items() if name.startswith("HF_") and name != "HF_TOKEN"}
    server = hub_fork_server(imported, frozenset(variables.items())) if variables else fork_server(imported)
    return server.start(command, environment(env), **options)


def environment(env: dict[str, str] | None = None) -> dict[str, str]:
    """Variables of a process that is offline, unless `env` differs."""
    return {**os.environ, **OFFLINE, **(env or {})}


def run(*command, **options) -> subprocess.CompletedProcess:
    """Run a real process of Python to its end, see `start`."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = start(*command, **options, stdout=output, stderr=errors)
        try:
            process.wait(300)
        finally:
            process.kill()
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode())
        return subprocess.CompletedProcess(command, process.returncode, *texts)


def rank_variables(processes: int) -> list[dict[str, str]]:
    """Variables of each of the processes that torch.distributed joins, as torchrun sets them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sizes = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [{**sizes, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def run_two_ranks(*command) -> subprocess.CompletedProcess:
    """Run a script in two processes that torch.distributed joins; their output comes together, as stderr."""
    with tempfile.TemporaryFile() as output:
        ranks = [start(*command, env=env, stdout=output, stderr=output) for env in rank_variables(2)]
        try:
            codes = [rank.wait(300) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
        output.seek(0)
        return subprocess.CompletedProcess(command, max(codes, key=abs), "", output.read().decode())


def run_fresh(*command, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """Run a new interpreter, which has imported nothing; else as `run`."""
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment(env))


def read_until(stream, wanted: bytes, seconds: float = 120) -> bytes:
    """Read the output of a process until it contains `wanted`; fail if the process ends, or takes longer."""
    content, deadline = b"", time.monotonic() + seconds
    while wanted not in content:
        ready, _, _ = select.select([stream], [], [], max(0, deadline - time.monotonic()))
        block = os.read(stream.fileno(), 1000) if ready else b""
        assert block, f"no {wanted!r} in: {content.decode()[-2000:]}"
        content += block
    return content


def run_without_package(code: str, *arguments, env: dict[str, str] | None = None, **options):
    """`run("-c", code, *arguments)` as if mulap_hf was not installed, for the process and its children."""
    code = f"import sys; sys.modules['mulap_hf'] = None\n{code}"
    env = {**(env or {}), **WITHOUT_PACKAGE}
    return run("-c", code, *arguments, env=env, imported="transformers", **options)


def import_script(path: Path) -> ModuleType:
    """Import a script, to call its `main` in this process."""
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def errors_of(script: Path, *runs: list, **how) -> list[str]:
    """The last lines on stderr of runs of a script that fail with status 1.

    Args:
        script: Path of the script.
        runs: Options of each run.
        how: See `run`.
    """
    messages = []
    for options in runs:
        result = run(script, *options, **how)
        assert result.returncode == 1, result.stderr
        messages.append(result.stderr.splitlines()[-1])
    return messages


def rows_in(folder: Path) -> dict[str, np.ndarray]:
    """The embedding of each path in a folder that `mulap embed` wrote; no path twice."""
    import pyarrow.parquet as pq

    tables = [pq.read_table(file) for file in sorted(folder.glob("embeddings-*.parquet"))]
    rows = [row for table in tables for row in table.to_pylist()]
    assert len({row["path"] for row in rows}) == len(rows)
    return {row["path"]: np.array(row["embedding"]) for row in rows}
