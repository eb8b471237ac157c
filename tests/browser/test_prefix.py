"""The pages below a path, in a real browser."""

from __future__ import annotations

import pytest

from api.demo import post_examples
from tests.browser.test_pages import browser, pytestmark  # noqa: F401 - the fixture and the marks
from tests.server import Server

PREFIX = "/lab/curves"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Address of the pages of a service below a path."""
    server = Server(
        tmp_path_factory.mktemp("below"),
        IDEALFIT_PREFIX=PREFIX,
        WEB_CONCURRENCY="1",
        IDEALFIT_WORKERS="0",
    )
    yield server.url + PREFIX
    server.stop()


@pytest.fixture
def page(browser, site):  # noqa: F811 - pytest hands it in
    """A page that fails the test on an error in its console or a request beside the path."""
    page = browser.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)

    def look(request):
        if not request.url.startswith((site, "data:", "blob:")):
            problems.append(f"asks {request.url}")

    page.on("request", look)
    yield page
    page.close()
    assert problems == []


def test_the_first_page_leads_to_a_plot(page, site):
    post_examples(site)
    page.goto(site)
    page.get_by_role("link", name="Plot of example-test").first.click()
    page.wait_for_selector("canvas")


def test_the_docs_call_the_service_and_may_change_something(page, site):
    page.goto(f"{site}/docs#/service/readLimits")
    page.wait_for_selector(".opblock.is-open")
    page.get_by_role("button", name="Try it out").click()
    with page.expect_response(f"{site}/v1/limits") as response:
        page.get_by_role("button", name="Execute").click()
    assert response.value.status == 200
    # A request of our own page, with the Origin and the Sec-Fetch-Site that a browser sends.
    reply = page.evaluate(
        """async (site) => (await fetch(`${site}/v1/datasets?name=a`, {
            method: "POST", headers: {"Content-Type": "text/csv"}, body: "x,y\\n1,2\\n"
        })).status""",
        site,
    )
    assert reply == 201
