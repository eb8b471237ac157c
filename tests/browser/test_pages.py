"""The first page, the docs and the plots, in a real browser."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from api.demo import post_examples
from api.examples import FOLDER
from tests.files import FORMATS

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None and not os.environ.get("CI"),
        reason="needs Chromium; on Debian: apt install chromium",
    ),
]


@pytest.fixture(scope="module")
def mapping_id(server):
    return post_examples(server.url)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """A page that fails the test on an error in its console or a request to elsewhere."""
    page = browser.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((server.url, "data:", "blob:"))
            else problems.append(f"asks {request.url}")
        ),
    )
    yield page
    page.close()
    assert problems == []


def test_the_first_page_links_to_the_plots_of_what_is_stored(page, server, mapping_id):
    page.goto(server.url)
    page.get_by_role("link", name="Plot of example-test").first.click()
    assert "/plot" in page.url
    page.goto(server.url)
    assert page.locator(f'a[href="/v1/mappings/{mapping_id}/plot"]').count() == 1


def test_the_docs_show_every_operation(page, server):
    document = server.get("/openapi.json").json()
    methods = {"get", "post", "patch", "delete"}
    operations = sum(len(methods & path.keys()) for path in document["paths"].values())
    page.goto(f"{server.url}/docs")
    page.wait_for_selector(".opblock")
    assert page.locator(".opblock").count() == operations


@pytest.mark.parametrize("kind", ["datasets", "fits", "mappings"])
def test_a_plot_is_drawn_without_a_network(page, server, mapping_id, kind):
    mapping = server.get(f"/v1/mappings/{mapping_id}").json()
    ids = {"mappings": mapping_id, "fits": mapping["fit_id"], "datasets": mapping["test_id"]}
    page.goto(f"{server.url}/v1/{kind}/{ids[kind]}/plot")
    page.wait_for_selector("canvas")
    assert page.locator("canvas").first.bounding_box()["height"] > 100


@pytest.mark.parametrize("ending", ["csv", "parquet", "xlsx"])
def test_a_plain_form_sends_a_file(browser, server, tmp_path, ending):
    """No script; what a browser says of a file, its name and type, is enough."""
    columns = {"x": [0.0, 1.0], "y": [2.0, 3.0]}
    file = tmp_path / f"curves.{ending}"
    file.write_bytes(FORMATS[ending][1](columns))
    page = browser.new_page()
    # A form of a page without an address comes from the origin null, which is foreign.
    page.goto(server.url)
    page.set_content(
        f"""<form method="post" enctype="multipart/form-data" action="{server.url}/v1/datasets">
        <input type="file" name="file"><button>Send</button></form>"""
    )
    page.set_input_files("input", file)
    with page.expect_response("**/v1/datasets") as response:
        page.click("button")
    assert response.value.status == 201
    record = server.get(response.value.headers["location"]).json()
    page.close()
    assert (record["name"], record["n_points"]) == ("curves", 2)
    assert record["source"]["format"] == ending


class Docs:
    """Swagger UI as a person uses it: open a call, try it out, change little, execute."""

    def __init__(self, page, server):
        self.page = page
        self.server = server
        # Once, because the page takes some seconds to be made.
        page.goto(f"{server.url}/docs")

    def opened(self, operation):
        tag, identifier = operation
        block = self.page.locator(f"#operations-{tag}-{identifier}")
        block.locator(".opblock-summary-control").click()
        block.locator(".try-out__btn").click()
        return block

    def executed(self, block):
        with self.page.expect_response(lambda reply: reply.request.method == "POST") as reply:
            block.locator("button.execute").click()
        assert reply.value.status == 201, reply.value.text()
        return self.server.get(reply.value.headers["location"]).json()

    def upload(self, files):
        """Choose one file after the other, and clear nothing of what is filled in."""
        block = self.opened(("datasets", "createDataset"))
        choice = block.locator(".opblock-section-request-body select.content-type")
        choice.select_option("multipart/form-data")
        for file in files:
            block.locator("input[type=file]").set_input_files(file)
            yield self.executed(block)

    def post(self, operation, **ids):
        """Send the example as it stands, but for the ids."""
        block = self.opened(operation)
        body = block.locator("textarea.body-param__text")
        body.fill(json.dumps(json.loads(body.input_value()) | ids))
        return self.executed(block)


def test_the_examples_of_the_docs_work_on_the_example_files(page, server):
    docs = Docs(page, server)
    names = ("training", "ideal", "test")
    stored = dict(zip(names, docs.upload(FOLDER / f"{name}.csv" for name in names), strict=True))
    for name, record in stored.items():
        assert (record["name"], record["description"], record["attributes"]) == (name, "", {})
    ids = {name: record["id"] for name, record in stored.items()}
    fit = docs.post(("fits", "createFit"), training_id=ids["training"], ideal_id=ids["ideal"])
    mapping = docs.post(("mappings", "createMapping"), fit_id=fit["id"], test_id=ids["test"])
    assert (fit["state"], mapping["state"]) == ("succeeded", "succeeded")
    assert mapping["mapped_points"] > 0
