"""`mulap embed --ray` on a real cluster: two nodes on this machine, which the tests start, and kill."""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import WITHOUT_PACKAGE, environment, rows_in, write_tone

from mulap_hf.cli import main
from mulap_hf.embedding import Embedder
from mulap_hf.embedding_files import write_embeddings

pytest.importorskip("ray.data", reason='the tests of --ray need Ray: pip install "mulap-hf[ray]"')
NODE = Path(__file__).with_name("ray_node.py")
PATIENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(16),
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_niceness": "0",
    "RAY_health_check_period_ms": "1000",  # so that a killed node is missed sooner
    "RAY_health_check_failure_threshold": "3",
    "OMP_NUM_THREADS": "1",
}
FILES, BROKEN = 400, 8
# The command with a shard per track, so that it can be interrupted between them.
EAGER = """
import sys
import mulap_hf.embedding_shards as shards
from mulap_hf.cli import main
shards.SHARD_SECONDS = 0
main(sys.argv[1:])
"""


def wait_for(condition: Callable[[], bool], what: str, process: subprocess.Popen | None = None):
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        assert process is None or process.poll() is None, f"ended before {what}"
        time.sleep(0.05)


class NotStarted(Exception):
    """A node of a cluster gave up."""


class Cluster:
    """Nodes of a Ray cluster with one core each."""

    def __init__(self, folder: Path):
        self.folder = folder  # with a short name: sockets are in it
        self.nodes: list[subprocess.Popen] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"

    def start_node(self, env: dict[str, str] | None = None) -> subprocess.Popen:
        """Starts a node, the first of which is the head, and waits until it is a part of the cluster."""
        port = self.address.rpartition(":")[2]
        place = ["--address", self.address]
        if not self.nodes:
            place = ["--head", "--port", port, "--temp-dir", str(self.folder), "--include-dashboard=false"]
        log = self.folder.with_suffix(f".{len(self.nodes)}.log")
        with log.open("w") as file:
            node = subprocess.Popen(
                [sys.executable, NODE, "start", *place, "--num-cpus=1", "--node-ip-address=127.0.0.1", "--block"],
                stdout=file, stderr=file, env=environment({**PATIENT, **(env or {})}), start_new_session=True,
            )  # fmt: skip
        self.nodes.append(node)
        while "Ray runtime started" not in log.read_text():
            if node.poll() is not None:
                raise NotStarted(log.read_text()[-300:])
            time.sleep(0.1)
        return node

    def kill_node(self, node: subprocess.Popen):
        """As if its machine was switched off."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()

    def workers(self, node: subprocess.Popen) -> int:
        """How many processes of a node are decoding, or have the model."""
        found = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                group = int((folder / "stat").read_text().rpartition(")")[2].split()[3])  # its session
                found += group == node.pid and (folder / "cmdline").read_text().startswith("ray::Map")
        return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    cluster = Cluster(folder / "r")
    try:
        try:
            cluster.start_node()
            cluster.start_node()
        except NotStarted as error:
            pytest.skip(f"Ray does not start: its processes wait 15 s for each other, too few here: {error}")
        yield cluster
    finally:
        for node in cluster.nodes[::-1]:
            cluster.kill_node(node)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    """400 short files, some of them broken."""
    folder = tmp_path_factory.mktemp("files") / "music"
    for index in range(10):
        write_tone(folder / f"{index:03d}.{'mp3' if index % 3 == 1 else 'wav'}", seconds=0.2 + index / 10, seed=index)
    songs = sorted(folder.iterdir())
    for index in range(10, FILES - BROKEN):
        (folder / f"{index:03d}{songs[index % 10].suffix}").hardlink_to(songs[index % 10])
    for index in range(BROKEN):
        (folder / f"broken{index}.wav").write_bytes(b"noise")
    return folder


def test_killed_drivers_and_nodes(cluster, music, model_folder, tmp_path):
    output, log = tmp_path / "out", tmp_path / "log"
    command = ["embed", music, "--model", model_folder, "--output", f"{output}/", "--ray", cluster.address]

    def begin() -> subprocess.Popen:
        with log.open("w") as file:
            words = [sys.executable, "-c", EAGER, *map(str, command)]
            return subprocess.Popen(words, stdout=file, stderr=file, env=environment(PATIENT), start_new_session=True)

    def shards() -> list[Path]:
        return sorted(output.glob("embeddings-*.parquet"))

    driver = begin()
    wait_for(lambda: len(shards()) >= 3, "shards", driver)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    written = {shard: shard.read_bytes() for shard in shards()}
    done = set(rows_in(output))
    assert 0 < len(done) < FILES - BROKEN

    driver, count = begin(), len(written)
    wait_for(lambda: all(map(cluster.workers, cluster.nodes)), "workers on both nodes", driver)
    wait_for(lambda: len(shards()) > count, "more shards", driver)
    assert driver.poll() is None
    cluster.kill_node(cluster.nodes[1])
    assert driver.wait(600) == 1, log.read_text()[-3000:]  # 1: some files are broken
    assert f"{FILES - BROKEN} of {FILES} files embedded in {output}/" in log.read_text()
    assert re.search(r"Ray cluster: 2 nodes, 2 cores, 2 models", log.read_text())
    assert all(shard.read_bytes() == content for shard, content in written.items())

    embedder, here = Embedder(model_folder), tmp_path / "here"
    report = write_embeddings(embedder, sorted(music.iterdir()), f"{here}/", progress=False)
    found, expected = rows_in(output), rows_in(here)
    assert set(found) == set(expected) and len(report.failed) == BROKEN
    for path, values in expected.items():
        np.testing.assert_allclose(found[path], values, rtol=0, atol=1e-6 * values.max())
    failures = [pq.read_table(folder / "failed.parquet").sort_by("path") for folder in (output, here)]
    assert failures[0] == failures[1]


def test_a_machine_alone_encodes_in_the_process_itself(cluster, music, model_folder, tmp_path):
    """The only node that the test above leaves."""
    songs = [music / f"{index:03d}.wav" for index in (0, 2, 3)]
    arguments = ["--model", model_folder, "--output", f"{tmp_path}/out/", "--ray", cluster.address]
    result = subprocess.run(
        [sys.executable, "-m", "mulap_hf.cli", *map(str, ["embed", *songs, *arguments])],
        capture_output=True, text=True, timeout=600, env=environment(PATIENT),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Ray cluster: 1 nodes, 1 cores, the model in this process" in result.stderr
    write_embeddings(Embedder(model_folder), songs, f"{tmp_path}/here/", progress=False)
    found, expected = rows_in(tmp_path / "out"), rows_in(tmp_path / "here")
    assert set(found) == set(expected)
    for path, values in expected.items():
        np.testing.assert_allclose(found[path], values, rtol=0, atol=1e-6 * values.max())


def failure(arguments: list, capsys) -> str:
    """The last line that a run complains with that does nothing."""
    with pytest.raises(SystemExit) as end:
        main(list(map(str, arguments)))
    errors = capsys.readouterr().err
    assert end.value.code == 2, errors
    return errors.splitlines()[-1]


def test_a_node_without_the_package(cluster, music, model_folder, tmp_path):
    node = cluster.start_node(WITHOUT_PACKAGE)
    command = ["embed", music, "--model", model_folder, "--output", f"{tmp_path}/out/", "--ray", cluster.address]
    result = subprocess.run(
        [sys.executable, "-m", "mulap_hf.cli", *map(str, command)],
        capture_output=True, text=True, timeout=600, env=environment(PATIENT),
    )  # fmt: skip
    cluster.kill_node(node)
    assert result.returncode == 2, result.stderr
    message = result.stderr.splitlines()[-1]
    assert re.match(r"error: node [\d.]+ of the cluster has mulap-hf none \(.*mulap_hf.*\): install", message)


def test_what_is_no_cluster(music, model_folder, tmp_path, capsys):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{probe.getsockname()[1]}"
    embed = ["embed", music, "--model", model_folder, "--output", f"{tmp_path}/out/"]
    assert f"{closed}: no cluster answers there (Connection refused)" in failure([*embed, "--ray", closed], capsys)
    assert "--ray music/: give host:port or auto, and name the files" in failure([*embed, "--ray", "music/"], capsys)
    assert "--workers is for runs without --ray" in failure([*embed, "--ray", "--workers", 2], capsys)
    assert "end it with /" in failure([*embed[:-1], f"{tmp_path}/out.parquet", "--ray"], capsys)
