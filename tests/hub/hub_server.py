"""A Hub on loopback for tests, which the real `huggingface_hub`, `transformers` and `datasets` take for the Hub.

It knows users by their tokens, private and gated repositories, commits with LFS, branches, tags and pull requests,
and keeps every request, so that tests can say what was sent. Large files are redirected to a storage of another
origin ("localhost" instead of 127.0.0.1), which, as on the Hub, refuses requests that carry the user's token. There is
no Xet (clients need HF_HUB_DISABLE_XET=1) and no search, of pull requests there are only the refs, and nothing is kept
on disk.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hub_api import Hub, Request


class HubServer(Hub):
    """The Hub at a free port: `with HubServer() as hub:`.

    Attributes:
        url: for HF_ENDPOINT.
        requests: all so far; may be cleared.
    """

    def __init__(self):
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        port = self._http.server_port
        super().__init__(f"http://127.0.0.1:{port}", f"http://localhost:{port}/storage")
        self.requests: list[Request] = []

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_exception):
        self._http.shutdown()
        self._http.server_close()

    def environment(self, home: Path, token: str | None = "hf_test") -> dict[str, str]:
        """Variables of a client's process, whose cache and stored token are below `home`. They have to stand before
        the client's libraries are imported, so nothing in the tests' own process can be a client."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": token or "",
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *_arguments):
        pass  # the requests are kept

    def handle_request(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        url = f"http://{headers.get('host')}{self.path}"
        request = Request(self.command, url, headers, self.read_body(headers))
        response = self.hub.answer(request)
        request.status = response.status
        self.hub.requests.append(request)
        body = response.body
        self.send_response(response.status)
        for name, value in {"Content-Length": str(len(body)), **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request

    def read_body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(headers.get("content-length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)
