"""A real S3 server on this machine, in a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

SETTINGS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
BUCKET = "music"


@contextlib.contextmanager
def s3_server(log) -> Iterator[dict[str, str]]:
    """The variables with which processes find the server, which has an empty bucket."""
    pytest.importorskip("moto", reason="the tests of S3 need the extra test: moto[server] is not installed")
    s3fs = pytest.importorskip("s3fs", reason="the tests of S3 need the extra s3")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = SETTINGS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 180
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            s3fs.S3FileSystem().mkdir(BUCKET)
        yield variables
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory) -> Iterator[str]:
    """The address of an empty bucket of a server of this machine, which this process and those it starts find."""
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield f"s3://{BUCKET}"
    assert os.environ.get("AWS_ENDPOINT_URL") is None


def upload(folder, address: str):
    """Copies a folder."""
    import s3fs

    s3fs.S3FileSystem().put(f"{folder}/", f"{address}/", recursive=True)
