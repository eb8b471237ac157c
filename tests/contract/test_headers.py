"""Headers of every reply that restrict how a browser may use it."""

from __future__ import annotations

import pytest

from tests.calls import check_problem
from tests.contract.document import READ, address
from tests.examples import combinations

PAGES = ["/", "/docs", "/openapi.json"]
OWN_FILES = ["/static/docs.js", "/static/idealfit.css", "/static/swagger-ui/swagger-ui.css"]


def check(reply, cache):
    policy = reply.headers["Content-Security-Policy"].split("; ")
    assert "frame-ancestors 'none'" in policy
    assert policy[0].startswith("default-src ")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "same-origin"
    assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert reply.headers["Cache-Control"] == cache


@pytest.mark.parametrize("path", [*READ, *PAGES])
def test_every_reply_has_them(calls, some, path):
    where = address(path, some)
    for reply in (calls.get(where), calls.head(where), calls.options(where)):
        assert reply.status == 200
        check(reply, "private, no-cache")


@pytest.mark.parametrize(
    ("noun", "kind"),
    combinations(
        ["datasets", "fits", "mappings"],
        ["text/html", "application/json", "image/svg+xml", "image/png"],
    ),
)
def test_every_plot_has_them(calls, some, noun, kind):
    reply = calls.get(f"{some.address[noun]}/plot", headers={"Accept": kind})
    assert reply.type == kind
    check(reply, "private, no-cache")


@pytest.mark.parametrize("kind", ["text/csv", "application/vnd.apache.parquet"])
def test_every_table_has_them(calls, some, kind):
    reply = calls.get(f"{some.address['mappings']}/points", headers={"Accept": kind})
    assert reply.type == kind
    check(reply, "private, no-cache")


def test_the_export_has_them(calls, some):
    check(calls.get(f"{some.address['mappings']}/export"), "private, no-cache")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nobody", {}, 404),
        ("GET", "/static/nobody", {}, 404),
        ("PUT", "/v1/datasets", {}, 405),
        ("GET", "/v1/limits", {"Accept": "image/webp"}, 406),
        ("GET", "/v1/limits", {"Host": "evil.example"}, 421),
        ("POST", "/v1/fits", {"Origin": "https://evil.example"}, 403),
        ("POST", "/v1/fits", {"Content-Type": "text/csv"}, 415),
        ("PATCH", "{fits}", {"Content-Type": "application/json"}, 428),
    ],
)
def test_every_error_has_them(calls, some, method, path, headers, status):  # noqa: PLR0917 - parameters
    reply = calls(method, path.format(**some.address), data=b"{}", headers=headers)
    check_problem(reply, status)
    check(reply, "private, no-cache")


def test_a_reply_that_says_nothing_new_has_them(calls, some):
    where = some.address["datasets"]
    reply = calls.get(where, headers={"If-None-Match": calls.get(where).etag})
    assert reply.status == 304
    check(reply, "private, no-cache")


@pytest.mark.parametrize("path", OWN_FILES)
def test_our_own_files_may_be_kept(calls, path):
    reply = calls.get(path)
    check(reply, "public, max-age=3600")
    again = calls.get(path, headers={"If-None-Match": reply.etag})
    assert again.status == 304
    check(again, "public, max-age=3600")


@pytest.mark.parametrize("path", OWN_FILES)
@pytest.mark.parametrize(
    ("headers", "status"), [({"If-Match": '"x"'}, 412), ({"Range": "bytes=9999999999-"}, 416)]
)
def test_a_file_that_cannot_be_sent_is_a_problem(calls, path, headers, status):
    reply = calls.get(path, headers=headers)
    check_problem(reply, status)
    check(reply, "private, no-cache")


def test_a_page_of_an_allowed_origin_still_reads_replies(calls, some):
    """CORP is for requests without CORS; the replies to those with it are read as before."""
    reply = calls.get(some.address["datasets"], headers={"Origin": "https://lab.example"})
    assert reply.headers["Access-Control-Allow-Origin"] == "https://lab.example"
    check(reply, "private, no-cache")
