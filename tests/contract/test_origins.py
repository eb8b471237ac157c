"""A web page that the user visits cannot use the service, neither by a name nor by a form."""

from __future__ import annotations

import http.client
import socket
from dataclasses import replace

import pytest
from flask import Blueprint

from api.app import create_app
from api.config import Settings
from api.running import running
from tests.calls import CURVES, a_form, check_problem, over_wsgi
from tests.contract.document import DOCUMENT, READ, ROUTES, address

LAB = "https://lab.example"
EVIL = "https://evil.example"
A_FILE = a_form(("file", "x,y\n1,2\n", "a.csv"))


@pytest.fixture
def make_app(tmp_path):
    """Factory of applications with other settings."""
    apps = []

    def make(**settings):
        apps.append(create_app(replace(Settings(data=tmp_path), **settings)))
        return apps[-1]

    yield make
    for app in apps:
        running(app).database.close()


def count(calls):
    return len(calls.get("/v1/datasets", params={"limit": 500}).json["items"])


class TestHost:
    """A `Host` that is not ours is refused before anything of the request is read."""

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    def test_every_operation_refuses_a_foreign_host(self, calls, some, method, path):
        if path.startswith("/health/"):
            return
        reply = calls(method, address(path, some), headers={"Host": "evil.example"})
        assert check_problem(reply, 421)["type"] == "/problems/unknown-host"

    @pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/static/docs.js", "/nobody"])
    def test_every_page_refuses_a_foreign_host(self, calls, path):
        check_problem(calls.get(path, headers={"Host": "evil.example"}), 421)

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "TRACE", "BREW"])
    def test_every_method_refuses_a_foreign_host(self, calls, method):
        assert calls(method, "/v1/datasets", headers={"Host": "evil.example"}).status == 421

    def test_a_route_that_is_added_later_refuses_it_too(self, make_app):
        app = make_app()
        later = Blueprint("later", __name__)
        later.add_url_rule("/later", view_func=lambda: "seen", methods=["GET", "POST"])
        app.register_blueprint(later)
        calls = over_wsgi(app)
        assert calls.get("/later").body == b"seen"
        assert calls.get("/later", headers={"Host": "evil.example"}).status == 421
        assert calls.post("/later", headers={"Origin": EVIL}).status == 403

    def test_a_body_is_not_read(self, calls):
        headers = {"Host": "evil.example", "Content-Type": "application/json"}
        check_problem(calls.post("/v1/fits", data=b"{", headers=headers), 421)

    @pytest.mark.parametrize(
        "host",
        [
            *("localhost", "LOCALHOST:1", "localhost.:80", "app.localhost:8000", "localhost:"),
            *("127.0.0.1:65535", "127.9.9.9", "10.1.2.3:0", "[::1]:8000", "[2001:db8::1]"),
            *(socket.gethostname(), f"{socket.gethostname().upper()}:8000"),
        ],
    )
    def test_our_own_names(self, calls, host):
        assert calls.get("/v1/limits", headers={"Host": host}).status == 200

    @pytest.mark.parametrize(
        "host",
        [
            *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "xlocalhost"),
            *("127.1", "0x7f.0.0.1", "2130706433", "evil.example:8000", "lab.example"),
        ],
    )
    def test_other_names(self, calls, host):
        check_problem(calls.get("/v1/limits", headers={"Host": host}), 421)

    @pytest.mark.parametrize(
        "host",
        [
            *("localhost@evil.example", "user:secret@localhost", "localhost,evil.example", ","),
            *(
                "localhost:65536",
                "localhost:8k",
                "[fe80::1%25eth0]",
                "::1",
                "local host",
                "..",
                "a/b",
            ),
        ],
    )
    def test_malformed_names(self, calls, host):
        problem = check_problem(calls.get("/v1/limits", headers={"Host": host}), 400)
        assert problem["type"] == "/problems/malformed-host"

    @pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
    @pytest.mark.parametrize("host", ["evil.example", "a@b", "", "localhost:65536"])
    def test_health_hears_every_host(self, calls, path, host):
        assert calls.get(path, headers={"Host": host}).status == 200

    def test_names_of_the_setting(self, make_app):
        calls = over_wsgi(make_app(hosts=frozenset({"lab.example"})))
        for host in ("lab.example", "LAB.example.:8443"):
            assert calls.get("/v1/limits", headers={"Host": host}).status == 200
        for host in ("www.lab.example", "labxexample", "example"):
            assert calls.get("/v1/limits", headers={"Host": host}).status == 421

    def test_a_forwarded_host_says_nothing(self, calls):
        forwarded = {"X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"}
        reply = calls.get("/v1/limits", headers={"Host": "evil.example", **forwarded})
        assert reply.status == 421
        forwarded = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
        assert calls.get("/v1/limits", headers=forwarded).status == 200


def raw(server, *lines):
    """Status of a request that is written as it stands."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        return reply.status


class TestRequestLines:
    """What no library sends."""

    @pytest.mark.parametrize(
        ("status", "lines"),
        [
            (400, ["GET /v1/limits HTTP/1.1"]),
            (200, ["GET /v1/limits HTTP/1.0"]),
            (421, ["GET /v1/limits HTTP/1.0", "Host: evil.example"]),
            (400, ["GET /v1/limits HTTP/1.1", "Host: localhost", "Host: evil.example"]),
            (400, ["GET /v1/limits HTTP/1.1", "Host: localhost", "Host: localhost"]),
            (200, ["GET http://localhost/v1/limits HTTP/1.1", "Host: localhost"]),
            (421, ["GET http://evil.example/v1/limits HTTP/1.1", "Host: localhost"]),
            (421, ["GET http://localhost/v1/limits HTTP/1.1", "Host: evil.example"]),
            (400, ["GET http://a@evil.example/v1/limits HTTP/1.1", "Host: localhost"]),
            (404, ["GET //evil.example/v1/limits HTTP/1.1", "Host: localhost"]),
        ],
        ids=lambda value: " | ".join(value) if isinstance(value, list) else None,
    )
    def test_a_request(self, server, status, lines):
        assert raw(server, *lines) == status


class TestOrigin:
    """What may change something comes from a page of ours, one that CORS allows, or a program."""

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    def test_every_unsafe_operation_refuses_a_foreign_page(self, calls, some, method, path):
        reply = calls(method, address(path, some), headers={"Origin": EVIL})
        if method == "GET":
            assert reply.status != 403
        else:
            assert check_problem(reply, 403)["type"] == "/problems/foreign-origin"

    @pytest.mark.parametrize(
        "headers",
        [
            *({"Origin": EVIL, "Sec-Fetch-Site": site} for site in ("cross-site", "same-site")),
            *({"Origin": origin} for origin in (EVIL, "null", "", "*", "http://localhost:1")),
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "Cross-Site "},
            {"Origin": "https://lab.example.evil.example"},
            {"Origin": "https://labxexample"},
            {"Origin": "http://lab.example"},
            {"Origin": f"{LAB}, {EVIL}"},
        ],
        ids=str,
    )
    def test_a_form_of_a_foreign_page_stores_nothing(self, calls, headers):
        before = count(calls)
        reply = calls.post("/v1/datasets", data=A_FILE["data"], headers=A_FILE["headers"] | headers)
        check_problem(reply, 403)
        assert count(calls) == before

    def test_a_page_of_ours_may(self, calls, server):
        for headers in (
            {"Origin": server.url, "Sec-Fetch-Site": "same-origin"},
            {"Origin": server.url.replace("http:", "https:")},
            {"Origin": "https://localhost", "Host": "localhost"},
            {"Origin": "http://[::1]:8000", "Host": "[::1]:8000"},
            {"Sec-Fetch-Site": "none"},
            {"Sec-Fetch-Site": "same-site"},
            {},
        ):
            body = {"name": "a", "columns": CURVES}
            assert calls.post("/v1/datasets", body, headers=headers).status == 201, headers

    def test_a_page_that_cors_allows_may(self, calls):
        body = {"name": "a", "columns": CURVES}
        headers = {"Origin": LAB, "Sec-Fetch-Site": "cross-site"}
        reply = calls.post("/v1/datasets", body, headers=headers)
        assert reply.status == 201
        assert reply.headers["Access-Control-Allow-Origin"] == LAB

    @pytest.mark.parametrize("path", READ)
    def test_a_foreign_page_may_ask_but_not_read(self, calls, some, path):
        headers = {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}
        reply = calls.get(address(path, some), headers=headers)
        assert reply.status == 200
        assert "Access-Control-Allow-Origin" not in reply.headers

    def test_a_page_that_reached_us_by_its_own_name_is_told_so_first(self, calls):
        headers = {"Host": "evil.example", "Origin": "http://evil.example"}
        check_problem(calls.post("/v1/datasets", headers=headers), 421)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_the_document_says_so(method, path):
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    expected = set() if path.startswith("/health/") else {"400", "421"}
    expected |= set() if method == "GET" else {"403"}
    assert {"400", "403", "421"} & set(responses) >= expected
    assert ("403" in responses) == ("403" in expected)


class TestCorsIsExact:
    """An origin is compared as a whole; none of its signs means another."""

    @pytest.mark.parametrize("allowed", [LAB, "http://[::1]:5173"])
    def test_an_origin_in_the_setting(self, make_app, allowed):
        calls = over_wsgi(make_app(cors_origins=(allowed, "https://other.example")))
        reply = calls.get("/v1/limits", headers={"Origin": allowed})
        assert reply.headers["Access-Control-Allow-Origin"] == allowed
        assert calls.post("/v1/fits", {}, headers={"Origin": allowed}).status == 422

    @pytest.mark.parametrize(
        "origin",
        [
            *("https://lab.example.evil.example", "https://labxexample", "https://x.lab.example"),
            *("http://lab.example", "https://lab.example:8443", "https://lab.example\n", "null"),
            "http://1:5173",
        ],
    )
    def test_an_origin_beside_it(self, make_app, origin):
        calls = over_wsgi(make_app(cors_origins=(LAB, "http://[::1]:5173")))
        headers = {"Origin": origin.strip("\n")} if "\n" not in origin else {"Origin": LAB + "x"}
        reply = calls.get("/v1/limits", headers=headers)
        assert "Access-Control-Allow-Origin" not in reply.headers
        assert calls.post("/v1/fits", {}, headers=headers).status == 403
