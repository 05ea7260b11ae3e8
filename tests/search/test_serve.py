"""`mulap serve` as a user meets it: in a browser, and what its server gives away."""

import http.client
import os
import socket
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from catalogs import Catalog
from headless import free_port, open_page
from helpers import read_until, start

from mulap_hf.cli import main
from mulap_hf.search.index import SearchIndex
from mulap_hf.search.queries import QueryEncoder
from mulap_hf.search.update import create_index

pytest.importorskip("gradio", reason="gradio is not installed: pip install gradio")

MULAP = Path(sysconfig.get_path("scripts")) / "mulap"
SECRET = "not music\n"
CUT_OFF = """[...document.querySelectorAll("main :is(button, audio, textarea, article, a)")]
    .map(element => element.getBoundingClientRect())
    .filter(box => box.width && (box.left < 0 || box.right > innerWidth))"""


@dataclass
class Site:
    """A served index in a browser. Of its six tracks, number 5 has lost its file."""

    page: "playwright.sync_api.Page"  # noqa: F821
    folder: Path
    port: int
    requests: list[str]

    def open(self, address: str = "", width: int = 1280):
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.goto(f"http://127.0.0.1:{self.port}/{address}")
        self.button("Find similar tracks").wait_for()

    def button(self, name: str):
        return self.page.get_by_role("button", name=name, exact=True)

    def upload(self, path):
        self.page.locator("input[type=file]").first.set_input_files(path)

    def search(self, text: str):
        field = self.page.get_by_label("Description")
        field.fill(text)
        field.press("Enter")  # not on the keyboard: the page may have taken the focus from the field meanwhile

    def titles(self, heading: str) -> list[str]:
        """The names of the tracks below a heading, once it is there."""
        self.page.get_by_role("heading", name=heading).wait_for()
        return [text.split(". ", 1)[1] for text in self.page.locator("article b").all_inner_texts()]

    def error(self) -> str:
        message = self.page.get_by_test_id("toast-body").first
        message.wait_for()
        return message.inner_text()

    def get(self, path: str, **headers) -> tuple[int, bytes, dict[str, str]]:
        """A request as it is, without what browsers clean up."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())


@pytest.fixture(scope="module")
def site(catalog: Catalog, tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "music").mkdir()
    (folder / "secret.txt").write_text(SECRET)
    for number in range(5):
        (folder / "music" / f"{number}.flac").hardlink_to(catalog.track(number))
    table = pq.read_table(catalog.folder / "music.parquet")
    table = table.set_column(0, "path", pa.array([f"music/{number}.flac" for number in range(6)]))
    pq.write_table(table, folder / "music.parquet")
    (folder / "tracks.csv").write_text("path,genre\nmusic/0.flac,<b>jazz & co</b>\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where the relative paths start
        create_index("music.parquet", folder / "index", folder / "tracks.csv")
    port, (ours, theirs) = free_port(), os.pipe()
    process = start(MULAP, "serve", folder / "index", "--port", port, "-k", 6, stdout=theirs)
    os.close(theirs)
    try:
        with os.fdopen(ours, "rb") as output, open_page() as page:
            read_until(output, b"6 tracks on http://127.0.0.1:%d (Ctrl-C ends it)" % port, seconds=600)
            site = Site(page, folder, port, [])
            page.on("request", lambda request: site.requests.append(request.url))
            page.set_default_timeout(120000)
            yield site
    finally:
        process.kill()


def expected(site: Site, query: dict, **how) -> list[str]:
    return [Path(hit.path).stem for hit in SearchIndex(site.folder / "index").search(query, 6, **how)]


def test_words_find_tracks_that_play(site):
    site.open()
    site.search("slow sad violin")
    index = SearchIndex(site.folder / "index")
    assert site.titles("Tracks for “slow sad violin”") == expected(site, QueryEncoder(index).text("slow sad violin"))
    assert site.page.get_by_text("The audio file is missing.").count() == 1
    assert site.page.get_by_text("genre: <b>jazz & co</b>").count() == 1
    site.page.wait_for_function(
        "[...document.querySelectorAll('audio')].filter(track => track.duration > 1.9).length == 5"
    )
    play = """async () => {
        const track = document.querySelector("audio");
        track.muted = true;
        track.currentTime = 1;
        await track.play();
        return track.currentTime;
    }"""
    assert site.page.evaluate(play) >= 1
    site.page.wait_for_function("document.querySelector('audio').currentTime > 1.1")
    # The page needs nothing from outside.
    assert not [
        url for url in site.requests if not url.startswith((f"http://127.0.0.1:{site.port}", "data:", "blob:"))
    ]


def test_a_page_that_loads_late_keeps_what_was_found(site):
    held = []  # the first request, which the page sends while it loads
    site.page.route("**/queue/join*", lambda route: held.append(route), times=1)
    with site.page.expect_request("**/queue/join*"):
        site.open()
    site.search("slow sad violin")
    found = site.titles("Tracks for “slow sad violin”")
    with site.page.expect_response("**/queue/join*"):
        held[0].continue_()
    site.page.wait_for_timeout(2000)  # its answer is nothing, which cannot be waited for
    assert site.titles("Tracks for “slow sad violin”") == found


def test_a_search_before_the_end_of_another_is_kept(site):
    site.open()
    site.search("slow sad violin")
    site.titles("Tracks for “slow sad violin”")  # the page has loaded
    held = []
    site.page.route("**/queue/join*", lambda route: held.append(route), times=1)
    with site.page.expect_request("**/queue/join*"):
        site.search("fast techno")  # gets no answer yet
    site.search("calm piano")
    assert len(site.titles("Tracks for “calm piano”")) == 6
    held[0].continue_()
    assert len(site.titles("Tracks for “fast techno”")) == 6


def test_a_file_and_a_track_find_similar_ones(site, catalog):
    site.open()
    site.upload(catalog.track(2))
    site.button("Clear").wait_for()
    site.button("Find similar tracks").click()
    found = site.titles("Tracks that sound like your audio")
    assert found == expected(site, {"embedding": catalog.vectors[2]}) and found[0] == "2"
    site.page.get_by_role("link", name="Similar tracks").first.click()
    assert site.titles("Tracks that sound like “2”") == found[1:]


def test_what_cannot_be_searched_for(site, tmp_path):
    for name in ("notes.txt", "notes.wav"):
        (tmp_path / name).write_text("These are words.\n" * 100)
    site.open()
    site.upload(tmp_path / "notes.txt")
    assert "This file cannot be read as audio" in site.error()
    site.open()
    site.upload(tmp_path / "notes.wav")
    site.button("Clear").wait_for()
    site.button("Find similar tracks").click()
    assert "This file cannot be read as audio" in site.error()
    site.open()
    site.button("Find by words").click()
    assert "Describe the music in a few words" in site.error()
    site.open("?like=99")
    assert "This link is of a track that is not in the index." in site.error()


@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits_the_screen(site, width):
    site.open("?like=0", width)
    site.titles("Tracks that sound like “0”")
    assert site.page.evaluate("innerWidth") == width
    assert site.page.evaluate("document.documentElement.scrollWidth") <= width
    assert site.page.evaluate(CUT_OFF) == []
    if folder := os.environ.get("MULAP_SCREENSHOTS"):
        site.page.screenshot(path=f"{folder}/serve-{width}.png", full_page=True)


def test_ranges_of_a_file(site, catalog):
    content = Path(catalog.track(0)).read_bytes()
    status, body, headers = site.get("/audio/0")
    assert (status, body) == (200, content)
    assert headers["content-type"] in ("audio/flac", "audio/x-flac") and headers["accept-ranges"] == "bytes"
    status, body, headers = site.get("/audio/0", Range="bytes=100-199")
    assert (status, body) == (206, content[100:200])
    assert headers["content-range"] == f"bytes 100-199/{len(content)}"
    assert site.get("/audio/0", Range=f"bytes={len(content)}-")[0] == 416


def test_no_other_file_is_served(site, catalog):
    secret, relative = site.folder / "secret.txt", os.path.relpath(site.folder / "secret.txt", "/")
    up = "../" * 12
    paths = [f"/audio/{name}" for name in ("5", "6", "-1", "99999999999999999999", "0x1", "٣", "0/../../secret.txt")]
    paths += [
        f"/audio/{up}{relative}",
        f"/audio/{quote(up + relative, safe='')}",
        f"/audio/{up.replace('.', '%2e')}{relative}",
    ]
    paths += [f"/{up}{relative}", f"//{relative}", f"/static/{up}{relative}", f"/assets/{up}{relative}"]
    for place in (secret, site.folder / "index" / "index.json", catalog.track(0), up + relative, "secret.txt"):
        paths += [f"/gradio_api/file={place}", f"/gradio_api/file={quote(str(place), safe='')}", f"/file={place}"]
    for path in paths:
        status, body, _ = site.get(quote(path, safe="/%=."))
        assert status >= 400 or (b"<!doctype html>" in body.lower() and SECRET.encode() not in body), path


def test_only_this_machine_can_open_it(site):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", site.port), timeout=10)


def test_an_address_that_is_taken(site, capsys):
    with pytest.raises(SystemExit) as end:
        main(["serve", str(site.folder / "index"), "--port", str(site.port)])
    assert end.value.code == 2
    assert f"--port {site.port} cannot be used: Address already in use: choose another" in capsys.readouterr().err
