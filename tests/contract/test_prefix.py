"""The service below a path: the same, whether its proxy removes the path or not."""

from __future__ import annotations

import re
import shutil

import pytest

from api.app import create_app
from api.config import Settings
from api.running import running
from tests.calls import CURVES, Calls, Reply, check_problem, over_wsgi

PREFIX = "/lab/curves"


@pytest.fixture
def app(tmp_path, sqlite_template):
    shutil.copy(sqlite_template, tmp_path / "idealfit.db")
    app = create_app(Settings(data=tmp_path, prefix=PREFIX))
    yield app
    running(app).database.close()


@pytest.fixture(params=["kept", "removed"])
def calls(request, app):
    """Calls at the addresses that clients see, by a proxy that keeps or removes the prefix."""

    def send(method, path, data, headers, params):
        assert path.startswith(PREFIX), "no client reaches it"
        inside = path if request.param == "kept" else path.removeprefix(PREFIX) or "/"
        return over_wsgi(app).send(method, inside, data, headers, params)

    return Calls(send)


def test_links_have_the_prefix(calls):
    made = calls.post(f"{PREFIX}/v1/datasets", {"name": "a", "columns": CURVES})
    assert made.headers["Location"] == f"{PREFIX}/v1/datasets/{made.json['id']}"
    calls.post(f"{PREFIX}/v1/datasets", {"name": "a", "columns": CURVES})
    assert calls.get(made.headers["Location"]).json == made.json
    assert [len(page) for page in calls.pages(f"{PREFIX}/v1/datasets", limit=1)] == [1, 1]
    ids = {"training_id": made.json["id"], "ideal_id": made.json["id"]}
    fit = calls.post(f"{PREFIX}/v1/fits", ids)
    assert fit.headers["Location"] == f"{PREFIX}/v1/fits/{fit.json['id']}"
    in_use = check_problem(calls.delete(made.headers["Location"]), 409)
    assert f" {fit.headers['Location']};" in in_use["detail"]


@pytest.mark.parametrize("path", ["", "/", "/docs"])
def test_what_a_page_links_to_is_there(calls, path):
    page = calls.get(PREFIX + path)
    assert page.type == "text/html"
    links = re.findall(r'(?:href|src)="(/[^"]*)"', page.text)
    assert links
    for link in links:
        assert calls.get(link).status == 200, link


def test_the_first_page_links_to_records_and_shows_commands(calls):
    assert f"http://localhost{PREFIX}/v1/datasets" in calls.get(PREFIX).text
    made = calls.post(f"{PREFIX}/v1/datasets", {"name": "a", "columns": CURVES})
    assert f'href="{made.headers["Location"]}/plot"' in calls.get(PREFIX).text


def test_the_docs_read_the_document_beside_them(calls):
    script = calls.get(f"{PREFIX}/static/docs.js").text
    assert 'url: "openapi.json"' in script
    document = calls.get(f"{PREFIX}/openapi.json").json
    assert document["servers"] == [{"url": PREFIX}]
    assert all(path.startswith(("/v1/", "/health/", "/problems/")) for path in document["paths"])


def test_problem_types_have_the_prefix(calls):
    refused = calls.get(f"{PREFIX}/v1/limits", headers={"Host": "evil.example"})
    assert check_problem(refused, 421)["type"] == f"{PREFIX}/problems/unknown-host"
    assert check_problem(calls.get(f"{PREFIX}/nobody"), 404)["type"] == "about:blank"


@pytest.mark.parametrize("path", ["/health/live", f"{PREFIX}/health/live"])
def test_health_is_at_both_addresses(app, path):
    reply = over_wsgi(app).get(path, headers={"Host": "evil.example"})
    assert (reply.status, reply.json) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/lab", "/lab/curvesx/v1/limits", "//lab/curves/v1/limits"])
def test_a_path_beside_the_prefix_is_not_ours(app, path):
    environment = {"PATH_INFO": path, "HTTP_HOST": "localhost"}
    with app.test_client() as client:
        assert client.open("/", environ_overrides=environment).status_code == 404


@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize(
    "names",
    [
        {"HTTP_X_FORWARDED_PREFIX": "/evil", "HTTP_X_SCRIPT_NAME": "/evil"},
        {"HTTP_X_FORWARDED_HOST": "evil.example", "HTTP_X_FORWARDED_PORT": "99"},
        {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_FOR": "10.0.0.1"},
        {"HTTP_FORWARDED": "for=10.0.0.1;host=evil.example;proto=https"},
        {"HTTP_X_ORIGINAL_URL": "/health/live", "HTTP_X_REWRITE_URL": "/health/live"},
        {"SCRIPT_NAME": "/evil", "HTTP_SCRIPT_NAME": "/evil"},
    ],
    ids=str,
)
def test_no_header_says_where_the_service_is(tmp_path, sqlite_template, prefix, names):
    shutil.copy(sqlite_template, tmp_path / "idealfit.db")
    app = create_app(Settings(data=tmp_path, prefix=prefix))
    client = app.test_client()
    seen = []
    for extra in ({}, names):
        pages = [client.get(path, environ_overrides=extra) for path in ("/", "/v1/limits")]
        made = client.post(
            "/v1/datasets", json={"name": "a", "columns": CURVES}, environ_overrides=extra
        )
        assert made.headers["Location"].startswith(f"{prefix}/v1/datasets/")
        seen.append([Reply(r.status_code, r.headers, r.data).body for r in pages])
        client.delete(f"/v1/datasets/{made.json['id']}")
    running(app).database.close()
    assert seen[0] == seen[1]
