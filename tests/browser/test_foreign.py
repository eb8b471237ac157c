"""A page of another site, in a real browser, can store, read and show nothing."""

from __future__ import annotations

import http.server
import threading

import pytest

from tests.browser.test_pages import browser, pytestmark  # noqa: F401 - the fixture and the marks

PAGE = b"""<!DOCTYPE html><title>foreign</title>
<form id="f" method="post" enctype="multipart/form-data" target="_blank">
<input type="file" name="file"><button>Send</button></form>"""


class Foreign(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def page(browser):  # noqa: F811 - pytest hands it in
    """A page of another port, which is another origin."""
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    page = browser.new_page()
    page.goto(f"http://localhost:{site.server_port}/")
    yield page
    page.close()
    site.shutdown()
    site.server_close()


def test_its_form_stores_nothing(page, server, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("x,y\n1,2\n")
    page.evaluate("url => { f.action = url }", f"{server.url}/v1/datasets")
    page.set_input_files("input", file)
    with page.context.expect_page() as opened:
        page.click("button")
    opened.value.wait_for_load_state()
    assert "foreign-origin" in opened.value.content()
    opened.value.close()


def test_its_fetch_stores_nothing_and_reads_nothing(page, server):
    before = server.get("/v1/datasets?limit=500").json()
    post = """url => {
        const body = new FormData();
        body.append("file", new File(["x,y\\n1,2\\n"], "a.csv"));
        const sent = fetch(url, {method: "POST", mode: "no-cors", body});
        return sent.then(() => "sent", () => "refused");
    }"""
    page.evaluate(post, f"{server.url}/v1/datasets")
    assert server.get("/v1/datasets?limit=500").json() == before
    read = "url => fetch(url).then(() => 'read', () => 'refused')"
    assert page.evaluate(read, f"{server.url}/v1/limits") == "refused"


def test_it_shows_no_frame_and_no_picture(page, server):
    shown = page.evaluate(
        """url => new Promise(done => {
            const image = new Image();
            image.onload = () => done("shown");
            image.onerror = () => done("refused");
            image.src = url;
        })""",
        f"{server.url}/static/idealfit.svg",
    )
    assert shown == "refused"
    page.evaluate(
        "url => document.body.append(Object.assign(document.createElement('iframe'), {src: url}))",
        server.url,
    )
    page.wait_for_timeout(500)
    (frame,) = [frame for frame in page.frames if frame != page.main_frame]
    assert "Idealfit" not in frame.content()
