"""What HuggingFace's endpoint server does with a handler, as a process of its own in which the package is missing.

    python endpoint_server.py FOLDER

After huggingface-inference-toolkit 0.5 (`utils.py`, `webservice_starlette.py`), which is on no package index.
"""

import importlib.util
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlsplit

sys.modules["mulap_hf"] = None  # as if the package were not installed


def load_handler(folder: str):
    spec = importlib.util.spec_from_file_location("handler", f"{folder}/handler.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)
    sys.modules["handler"] = module
    spec.loader.exec_module(module)
    return module.EndpointHandler(folder)


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            data = {"inputs": body} if self.headers["Content-Type"].startswith("audio/") else json.loads(body)
            if "inputs" not in data:
                raise ValueError("Body needs to provide a inputs key")
            if (query := dict(parse_qsl(urlsplit(self.path).query))) and "parameters" not in data:
                words = {"true": True, "false": False}
                data["parameters"] = {
                    name: int(text) if text.isnumeric() else words.get(text, text) for name, text in query.items()
                }
            status, answer = 200, self.server.handler(data)
        except Exception as error:
            status, answer = 400, {"error": str(error)}
        content = json.dumps(answer, allow_nan=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Server)
    server.handler = load_handler(sys.argv[1])
    print(f"PORT {server.server_port}", flush=True)
    server.serve_forever()
