"""A page of a real headless browser: the machine's own Chromium, or the one that Qt's wheel brings."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

_START_SECONDS = 60
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
QT_WINDOW = """
from PySide6.QtWebEngineWidgets import QWebEngineView
from PySide6.QtWidgets import QApplication
application = QApplication([])
view = QWebEngineView()
view.setUrl("about:blank")
view.show()
application.exec()
"""


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@contextmanager
def open_page() -> Iterator:
    """A blank playwright `Page`; skips the test where there is no browser.

    `MULAP_BROWSER` names a Chromium; default: one on the PATH, else `pip install PySide6-WebEngine`.
    """
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    executable = os.environ.get("MULAP_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    with playwright.sync_playwright() as driver:
        if executable:
            browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])  # root has none
            yield browser.new_page()
            browser.close()
        elif find_spec("PySide6") and find_spec("PySide6.QtWebEngineCore"):
            with _qt_browser() as url:
                # Qt has one window and no browser settings, which playwright would change.
                yield driver.chromium.connect_over_cdp(url, no_defaults=True).contexts[0].pages[0]
        else:
            pytest.skip(
                "no headless browser: pip install PySide6-WebEngine, install chromium, or name one in MULAP_BROWSER"
            )


@contextmanager
def _qt_browser() -> Iterator[str]:
    url = f"127.0.0.1:{free_port()}"
    settings = {
        "QT_QPA_PLATFORM": "offscreen",
        "QTWEBENGINE_REMOTE_DEBUGGING": url,
        "QTWEBENGINE_DISABLE_SANDBOX": "1",
    }
    command = [sys.executable, "-c", QT_WINDOW]
    with subprocess.Popen(command, env={**os.environ, **settings}, stderr=subprocess.PIPE, text=True) as process:
        patience = threading.Timer(_START_SECONDS, process.kill)
        patience.start()
        line = ""
        for line in process.stderr:
            if "DevTools listening" in line:
                patience.cancel()
                yield f"http://{url}"
                break
        else:
            patience.cancel()
            pytest.skip(f"Qt's browser does not start, often for want of system libraries: {line}")
        process.kill()
