"""Rules for every address: problems, negotiation, versions, lists, bodies and browsers."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import re
import socket
import threading

import pytest
import requests
import zstandard

from api.app import create_app
from api.config import Settings
from api.running import running
from tests.calls import CURVES, a_form, check_fact, check_problem, next_link, over_wsgi
from tests.contract.document import READ, ROUTES, address
from tests.waiting import PATIENCE

NOUNS = ["datasets", "fits", "mappings"]
MISSING = {noun: f"/v1/{noun}/nobody" for noun in NOUNS}
ORIGIN = {"Origin": "https://lab.example"}


def a_cursor(key):
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


REFUSED = {
    "400 not JSON": (400, "POST", "/v1/fits", {"data": b"{", "type": "application/json"}),
    "404 record": (404, "GET", "/v1/datasets/nobody", {}),
    "404 route": (404, "GET", "/v2/datasets", {}),
    "405": (405, "PUT", "/v1/datasets", {}),
    "406": (406, "GET", "/v1/limits", {"accept": "image/webp"}),
    "415": (415, "POST", "/v1/fits", {"data": b"x", "type": "text/csv"}),
    "422 body": (422, "POST", "/v1/fits", {"data": b"{}", "type": "application/json"}),
    "422 query": (422, "GET", "/v1/fits?limit=0", {}),
}


class TestProblems:
    """Every error is application/problem+json and carries the request's id."""

    @pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
    def test_an_error_is_a_problem(self, calls, case):
        status, method, path, given = case
        names = {"type": "Content-Type", "accept": "Accept"}
        headers = {names[key]: value for key, value in given.items() if key in names}
        check_problem(calls(method, path, data=given.get("data"), headers=headers), status)

    @pytest.mark.parametrize("noun", NOUNS)
    def test_a_stale_or_missing_version_is_a_problem(self, calls, some, noun):
        check_problem(calls.patch(some.address[noun], {"name": "a"}), 428)
        check_problem(calls.patch(some.address[noun], {"name": "a"}, etag='"77"'), 412)
        check_problem(calls.delete(some.address[noun], etag='"77"'), 412)

    def test_a_conflict_is_a_problem(self, calls, some):
        check_problem(calls.delete(some.address["datasets"]), 409)
        check_problem(calls.delete(some.address["fits"]), 409)

    def test_a_service_that_is_not_ready_says_why_and_when_to_ask_again(self, tmp_path):
        app = create_app(Settings(data=tmp_path))
        reply = over_wsgi(app).get("/health/ready")
        running(app).database.close()
        assert "migrate" in check_problem(reply, 503)["detail"]
        assert int(reply.headers["Retry-After"]) > 0

    def test_a_database_that_cannot_be_used_is_503_with_retry_after(self, tmp_path):
        """The tables are missing: what a client asks is right, the service cannot answer."""
        app = create_app(Settings(data=tmp_path))
        reply = over_wsgi(app).get("/v1/datasets")
        running(app).database.close()
        check_problem(reply, 503)
        assert int(reply.headers["Retry-After"]) > 0

    @pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE", "PUT"])
    @pytest.mark.parametrize("path", ["/nobody", "/v1", "/v1/datasets/a/b/c", "/v1/fits/a/values"])
    def test_an_unknown_route_is_404_for_every_method(self, calls, method, path):
        check_problem(calls(method, path), 404)

    @pytest.mark.parametrize("method", ["PUT", "TRACE", "PROPFIND"])
    @pytest.mark.parametrize("path", sorted({path for _, path in ROUTES}))
    def test_another_method_is_405_and_names_those_allowed(self, calls, some, method, path):
        reply = calls(method, address(path, some))
        check_problem(reply, 405)
        allowed = {word.strip() for word in reply.headers["Allow"].split(",")}
        documented = {other for other, route in ROUTES if route == path}
        assert documented <= allowed <= documented | {"HEAD", "OPTIONS"}

    @pytest.mark.parametrize(
        ("method", "path"), [(m, p) for m, p in ROUTES if "{" in p], ids=lambda value: value
    )
    def test_an_unknown_id_in_the_path_is_404(self, calls, method, path):
        path = re.sub(r"\{\w+\}", "nobody", path.replace("{index}", "0"))
        body = {"x": [1], "y": [1]} if path.endswith("evaluate") else None
        body = {"columns": CURVES} if (method, path[-6:]) == ("POST", "curves") else body
        if method == "PATCH":
            reply = calls.patch(path, {} if "curves" in path else {"name": "a"}, etag="*")
        else:
            reply = calls(method, path, json_body=body)
        assert "nobody" in check_problem(reply, 404)["detail"]

    @pytest.mark.parametrize("identifier", ["%00", "%ff", "%F0%9F%98%80", "a" * 5000, "%27--"])
    @pytest.mark.parametrize("noun", NOUNS)
    def test_a_strange_id_is_404(self, calls, noun, identifier):
        check_problem(calls.get(f"/v1/{noun}/{identifier}"), 404)


class TestRequestId:
    """Every reply carries X-Request-ID."""

    def test_a_plain_word_of_the_client_is_kept(self, calls):
        reply = calls.get("/v1/limits", headers={"X-Request-ID": "batch-7.a_B"})
        assert reply.headers["X-Request-ID"] == "batch-7.a_B"

    @pytest.mark.parametrize("given", ["a b", "<script>", "a" * 65, ""])
    def test_anything_else_is_replaced(self, calls, given):
        reply = calls.get("/v1/limits", headers={"X-Request-ID": given})
        assert re.fullmatch("[0-9a-f]{32}", reply.headers["X-Request-ID"])

    def test_two_requests_have_two_ids(self, calls):
        first, second = (calls.get("/v1/limits").headers["X-Request-ID"] for _ in range(2))
        assert first != second

    @pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/health/live", "/nobody"])
    def test_it_is_there_outside_the_api_too(self, calls, path):
        assert calls.get(path).headers["X-Request-ID"]

    def test_it_is_there_where_a_reply_has_no_body(self, calls, some):
        address = some.address["datasets"]
        etag = calls.get(address).etag
        assert calls.get(address, headers={"If-None-Match": etag}).headers["X-Request-ID"]
        assert calls.head(address).headers["X-Request-ID"]
        assert calls.options(address).headers["X-Request-ID"]
        assert calls.delete(f"/v1/datasets/{calls.a_dataset()['id']}").headers["X-Request-ID"]


ACCEPTED = {
    None: "application/json",
    "": "application/json",
    "*/*": "application/json",
    "application/*": "application/json",
    "text/*": "text/csv",
    "text/csv": "text/csv",
    "TEXT/CSV": "text/csv",
    "text/csv; charset=utf-8": "text/csv",
    "application/json; charset=utf-8": "application/json",
    "application/json;q=0.4, text/csv;q=0.5": "text/csv",
    "text/html, application/xhtml+xml, */*;q=0.8": "application/json",
    "image/png, text/csv;q=0.1": "text/csv",
    "application/json;q=0, */*": "text/csv",
}


class TestNegotiation:
    """`Accept` picks the format; the first listed is the default."""

    @pytest.mark.parametrize(("accept", "expected"), ACCEPTED.items(), ids=map(repr, ACCEPTED))
    def test_values_come_as_accepted(self, calls, some, accept, expected):
        headers = {"Accept": accept}
        reply = calls.get(f"{some.address['datasets']}/values", headers=headers)
        assert (reply.status, reply.type) == (200, expected)
        assert "Accept" in reply.headers["Vary"]

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("/v1/fits/{fit_id}/matches", "application/json"),
            ("/v1/mappings/{mapping_id}/points", "application/json"),
            ("/v1/mappings/{mapping_id}/plot", "text/html"),
            ("/v1/fits/{fit_id}/plot", "text/html"),
            ("/v1/datasets/{dataset_id}/plot", "text/html"),
        ],
    )
    def test_anything_is_the_first_format_listed(self, calls, some, path, expected):
        assert calls.get(address(path, some), headers={"Accept": "*/*"}).type == expected

    @pytest.mark.parametrize("path", READ)
    def test_406_names_what_there_is(self, calls, some, path):
        reply = calls.get(address(path, some), headers={"Accept": "image/webp"})
        detail = check_problem(reply, 406)["detail"]
        assert calls.get(address(path, some)).type in detail

    @pytest.mark.parametrize("path", READ)
    def test_replies_vary_by_accept(self, calls, some, path):
        assert "Accept" in calls.get(address(path, some)).headers["Vary"]

    def test_a_record_that_cannot_be_shown_is_not_made(self, calls):
        before = calls.get("/v1/datasets", params={"name": "not made"}).json
        body = {"name": "not made", "columns": CURVES}
        reply = calls.post("/v1/datasets", body, headers={"Accept": "text/csv"})
        check_problem(reply, 406)
        assert calls.get("/v1/datasets", params={"name": "not made"}).json == before

    def test_json_is_utf_8(self, calls):
        name = "Größe 温度 😀"
        reply = calls.get(f"/v1/datasets/{calls.a_dataset(name=name)['id']}")
        assert reply.headers["Content-Type"] == "application/json"
        assert name.encode() in reply.body


class TestVersions:
    """ETag is the version: 304, 412 and 428."""

    @pytest.mark.parametrize("noun", NOUNS)
    @pytest.mark.parametrize(
        "pattern", ["{}", "W/{}", '"0", {}', 'W/"0", W/{}', "*", '"a,b",{}', '"0"  ,  {}  ']
    )
    def test_a_known_version_is_304_without_a_body(self, calls, some, noun, pattern):
        etag = calls.get(some.address[noun]).etag
        reply = calls.get(some.address[noun], headers={"If-None-Match": pattern.format(etag)})
        assert (reply.status, reply.body, reply.etag) == (304, b"", etag)
        assert reply.headers.get("Content-Type") is None
        assert "Accept" in reply.headers["Vary"]

    @pytest.mark.parametrize("noun", NOUNS)
    @pytest.mark.parametrize("given", ['"0"', 'W/"x"', "", '"', '"1', "é"])
    def test_another_version_is_200(self, calls, some, noun, given):
        headers = {"If-None-Match": given.encode("latin-1")}
        assert calls.get(some.address[noun], headers=headers).status == 200

    def test_head_is_304_too(self, calls, some):
        headers = {"If-None-Match": "*"}
        assert calls.head(some.address["fits"], headers=headers).status == 304

    @pytest.mark.parametrize("noun", NOUNS)
    @pytest.mark.parametrize("pattern", ["{}", "*", '"77", {}', '{},"0"'])
    def test_a_change_of_the_known_version_is_done(self, calls, noun, pattern):
        path = f"/v1/{noun}/{self.made(calls, noun)['id']}"
        etag = calls.get(path).etag
        reply = calls.patch(path, {"name": "new"}, etag=pattern.format(etag))
        assert reply.status == 200
        assert reply.json["name"] == "new"
        assert reply.etag != etag
        assert calls.get(path).etag == reply.etag

    @pytest.mark.parametrize("noun", NOUNS)
    @pytest.mark.parametrize(
        "given", ['"77"', "W/{}", '"a"', '""', '"*"', '"', '"01"', '"' + "9" * 5000 + '"', '"-1"']
    )
    def test_a_change_of_another_version_is_412(self, calls, some, noun, given):
        etag = calls.get(some.address[noun]).etag
        reply = calls.patch(some.address[noun], {"name": "new"}, etag=given.format(etag))
        check_problem(reply, 412)
        assert calls.get(some.address[noun]).etag == etag

    @pytest.mark.parametrize("noun", NOUNS)
    def test_a_delete_honours_if_match(self, calls, noun):
        path = f"/v1/{noun}/{self.made(calls, noun)['id']}"
        check_problem(calls.delete(path, etag='"77"'), 412)
        reply = calls.delete(path, etag=calls.get(path).etag)
        assert (reply.status, reply.body) == (204, b"")
        check_problem(calls.get(path), 404)

    @pytest.mark.parametrize("noun", NOUNS)
    def test_a_second_delete_changes_nothing(self, calls, noun):
        path = f"/v1/{noun}/{self.made(calls, noun)['id']}"
        assert calls.delete(path).status == 204
        check_problem(calls.delete(path), 404)

    @pytest.mark.parametrize("noun", NOUNS)
    def test_a_patch_that_changes_nothing_keeps_the_version(self, calls, noun):
        record = self.made(calls, noun)
        path = f"/v1/{noun}/{record['id']}"
        reply = calls.patch(path, {"name": record["name"]}, etag="*")
        assert reply.json == record
        assert calls.patch(path, {}, etag="*").json == record

    @pytest.mark.parametrize("noun", NOUNS)
    def test_six_changes_of_one_version_are_one_change(self, calls, server, noun):
        path = f"/v1/{noun}/{self.made(calls, noun)['id']}"
        for _ in range(5):
            etag = calls.get(path).etag
            statuses = _at_once(
                6,
                lambda i, etag=etag: (
                    requests.patch(
                        server.url + path,
                        json={"name": f"{etag} {i}"},
                        headers={"If-Match": etag},
                        timeout=PATIENCE,
                    ).status_code
                ),
            )
            assert sorted(statuses) == [200] + 5 * [412]

    @staticmethod
    def made(calls, noun):
        make = {"datasets": calls.a_dataset, "fits": calls.a_fit, "mappings": calls.a_mapping}
        return make[noun]()


def _at_once(count, call):
    """Results of call(0), call(1), ... started together."""
    results, barrier = [], threading.Barrier(count)

    def run(i):
        barrier.wait()
        results.append(call(i))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


BODIES = (
    "api.resources.datasets.stream_rows",
    "api.resources.fits.send_matches",
    "api.resources.mappings.send_items",
    "api.resources.exports.open_export",
    "api.resources.plots.read_curves",
    "api.resources.plots.read_page_of_items",
)
"""Functions that read what only a body shows."""


class TestHeadAndOptions:
    """HEAD is GET without the body; OPTIONS names the methods."""

    @pytest.mark.parametrize("path", [*READ, "/", "/docs", "/openapi.json"])
    def test_head_has_the_headers_of_get(self, calls, some, path):
        got, head = calls.get(address(path, some)), calls.head(address(path, some))
        assert (head.status, head.body) == (got.status, b"")
        for name in ("Content-Type", "ETag", "Vary", "Link", "Content-Disposition"):
            assert head.headers.get(name) == got.headers.get(name)

    @pytest.mark.parametrize("path", READ)
    def test_head_of_an_unknown_id_is_404(self, calls, path):
        if "{" in path:
            assert calls.head(re.sub("{.*}", "nobody", path)).status == 404

    @pytest.mark.parametrize(
        "path",
        [
            "/v1/datasets/{dataset_id}/values",
            "/v1/datasets/{dataset_id}/plot",
            "/v1/fits/{fit_id}/matches",
            "/v1/fits/{fit_id}/plot",
            "/v1/mappings/{mapping_id}/points",
            "/v1/mappings/{mapping_id}/plot",
            "/v1/mappings/{mapping_id}/export",
        ],
    )
    def test_head_computes_no_body(self, monkeypatch, limited, path):
        calls = limited()
        mapping = calls.a_mapping()
        fit = calls.get(f"/v1/fits/{mapping['fit_id']}").json
        ids = {"mapping_id": mapping["id"], "fit_id": fit["id"], "dataset_id": fit["ideal_id"]}
        kinds = [
            "text/csv",
            "application/vnd.apache.arrow.stream",
            "application/vnd.apache.parquet",
            "image/png",
            "image/svg+xml",
        ]
        kinds += ["text/html", "application/vnd.sqlite3"]
        if "points" not in path and "matches" not in path:
            kinds.append("application/json")
        got = {kind: calls.get(path.format(**ids), headers={"Accept": kind}) for kind in kinds}
        for name in BODIES:
            monkeypatch.setattr(name, lambda *_, **__: pytest.fail("a body was computed"))
        assert 200 in {reply.status for reply in got.values()}
        for kind, reply in got.items():
            head = calls.head(path.format(**ids), headers={"Accept": kind})
            assert (head.status, head.body) == (reply.status, b"")
            for name in ("Content-Type", "ETag", "Vary", "Content-Disposition"):
                assert head.headers.get(name) == reply.headers.get(name)
            assert head.headers.get("Content-Length") in {None, reply.headers.get("Content-Length")}

    @pytest.mark.parametrize("path", sorted({path for _, path in ROUTES}))
    def test_options_names_the_methods(self, calls, some, path):
        reply = calls.options(address(path, some))
        assert (reply.status, reply.body) == (200, b"")
        allowed = {word.strip() for word in reply.headers["Allow"].split(",")}
        documented = {method for method, route in ROUTES if route == path}
        assert documented | {"OPTIONS"} <= allowed


class TestCors:
    """A browser on an allowed origin can read records, versions, places and links."""

    def test_an_allowed_origin_may_read(self, calls):
        reply = calls.get("/v1/datasets", headers=ORIGIN)
        assert reply.headers["Access-Control-Allow-Origin"] == "https://lab.example"
        exposed = reply.headers["Access-Control-Expose-Headers"].replace(" ", "").split(",")
        assert {"ETag", "Location", "Link", "Retry-After", "X-Request-ID"} <= set(exposed)

    @pytest.mark.parametrize(
        ("method", "names"),
        [("POST", "content-type"), ("PATCH", "if-match, content-type"), ("DELETE", "if-match")],
    )
    def test_a_preflight_is_answered(self, calls, some, method, names):
        asked = {
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": names,
        }
        reply = calls.options(some.address["datasets"], headers=ORIGIN | asked)
        assert reply.status == 200
        assert method in reply.headers["Access-Control-Allow-Methods"]
        allowed = reply.headers["Access-Control-Allow-Headers"].lower().replace(" ", "").split(",")
        assert set(names.replace(" ", "").split(",")) <= set(allowed)

    @pytest.mark.parametrize("path", ["/v1/datasets/nobody", "/nobody", "/v1/fits?limit=0"])
    def test_an_error_can_be_read_too(self, calls, path):
        reply = calls.get(path, headers=ORIGIN)
        assert reply.headers["Access-Control-Allow-Origin"] == "https://lab.example"

    def test_another_origin_may_not(self, calls):
        reply = calls.get("/v1/datasets", headers={"Origin": "https://evil.example"})
        allowed = reply.headers.get("Access-Control-Allow-Origin")
        assert allowed not in ("*", "https://evil.example")

    @pytest.mark.parametrize("origin", ["https://lab.example", "https://evil.example", ""])
    def test_a_cache_keeps_the_replies_of_origins_apart(self, calls, some, origin):
        reply = calls.get(some.address["datasets"], headers={"Origin": origin})
        assert {"Accept", "Origin"} <= set(reply.headers["Vary"].replace(" ", "").split(","))

    def test_without_the_setting_no_origin_may(self, limited):
        reply = limited().get("/v1/datasets", headers=ORIGIN)
        assert "Access-Control-Allow-Origin" not in reply.headers


class TestStrictness:
    """What a request holds beyond the contract is refused."""

    @pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: value)
    def test_an_unknown_query_parameter_is_422(self, calls, some, method, path):
        reply = calls(method, address(path, some), params={"colour": "red"})
        if method == "POST" and reply.status == 415:
            reply = calls.post(address(path, some), {}, params={"colour": "red"})
        check_fact(reply, 422, parameter="colour", code="unknown_field")

    @pytest.mark.parametrize(
        ("path", "name"),
        [
            ("/v1/datasets", "limit"),
            ("/v1/datasets", "name"),
            ("/v1/fits", "training_id"),
            ("/v1/mappings", "state"),
            ("/v1/datasets/{dataset_id}/curves", "limit"),
            ("/v1/datasets/{dataset_id}/values", "start"),
            ("/v1/fits/{fit_id}/matches", "rank"),
            ("/v1/mappings/{mapping_id}/points", "status"),
        ],
    )
    def test_a_repeated_query_parameter_is_422(self, calls, some, path, name):
        value = {"state": "failed", "status": "mapped"}.get(name, "1")
        params = [(name, value), (name, value)]
        check_fact(calls.get(address(path, some), params=params), 422, parameter=name)

    @pytest.mark.parametrize(
        ("path", "params"),
        [
            ("/v1/datasets", {"limit": "0"}),
            ("/v1/datasets", {"limit": "501"}),
            ("/v1/datasets", {"limit": "1e2"}),
            ("/v1/datasets", {"limit": "-1"}),
            ("/v1/datasets", {"limit": ""}),
            ("/v1/datasets", {"limit": "٣"}),
            ("/v1/datasets", {"limit": "9" * 30}),
            ("/v1/datasets", {"sort": "sha256"}),
            ("/v1/datasets", {"sort": "+name"}),
            ("/v1/datasets", {"name": "a\0b"}),
            ("/v1/datasets", {"name": "a" * 201}),
            ("/v1/fits", {"state": "done"}),
            ("/v1/fits", {"ideal_id": "\0"}),
            ("/v1/datasets/{dataset_id}/values", {"start": "-1"}),
            ("/v1/datasets/{dataset_id}/values", {"count": "0"}),
            ("/v1/datasets/{dataset_id}/values", {"start": str(2**63)}),
            ("/v1/datasets/{dataset_id}/values", {"columns": "nobody"}),
            ("/v1/datasets/{dataset_id}/values", {"columns": ["y1", "y1"]}),
            ("/v1/fits/{fit_id}/matches", {"rank": "0"}),
            ("/v1/mappings/{mapping_id}/points", {"status": "all"}),
        ],
    )
    def test_a_parameter_out_of_range_is_422_and_named(self, calls, some, path, params):
        (name,) = params
        reply = calls.get(address(path, some), params=params)
        check_fact(reply, 422, parameter=name)

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/datasets", {"name": "a", "columns": CURVES, "owner": "me"}),
            ("/v1/datasets", {"name": "a", "columns": CURVES, "id": "mine"}),
            ("/v1/fits", {"training_id": "a", "ideal_id": "b", "state": "failed"}),
            ("/v1/mappings", {"fit_id": "a", "test_id": "b", "n_points": 3}),
            ("/v1/fits/{fit_id}/evaluate", {"x": [1], "y": [1], "name": "a"}),
            ("/v1/datasets/{dataset_id}/curves", {"columns": CURVES, "name": "a"}),
        ],
    )
    def test_an_unknown_field_is_422_with_its_pointer(self, calls, some, path, body):
        field = list(body)[-1]
        reply = calls.post(address(path, some), body)
        check_fact(reply, 422, pointer=f"/{field}", code="unknown_field")

    @pytest.mark.parametrize("noun", NOUNS)
    @pytest.mark.parametrize("field", ["id", "version", "created_at", "sha256", "state", "points"])
    def test_only_the_fields_of_the_contract_can_be_patched(self, calls, some, noun, field):
        reply = calls.patch(some.address[noun], {field: "a"}, etag="*")
        check_fact(reply, 422, pointer=f"/{field}", code="unknown_field")

    @pytest.mark.parametrize("path", READ)
    def test_no_route_has_a_slash_too_many(self, calls, some, path):
        for wrong in (f"{path}/", f"/{path[1:].replace('/', '//')}/"):
            check_problem(calls.get(address(wrong, some)), 404)


EVALUATE = "/v1/fits/{fit_id}/evaluate"


UNREADABLE = {
    "empty": b"",
    "truncated": b'{"x": [1, 2',
    "two values": b'{"x": [1], "y": [1]}{}',
    "trailing comma": b'{"x": [1,], "y": [1]}',
    "single quotes": b"{'x': [1]}",
    "NaN": b'{"x": [NaN], "y": [1]}',
    "Infinity": b'{"x": [Infinity], "y": [1]}',
    "-Infinity": b'{"x": [-Infinity], "y": [1]}',
    "1e999": b'{"x": [1e999], "y": [1]}',
    "-1e400": b'{"x": [1], "y": [-1e400]}',
    "an integer of 5000 digits": b'{"x": [' + b"7" * 5000 + b'], "y": [1]}',
    "the same beside an escape": b'{"\\"": [' + b"7" * 5000 + b'], "y": [1]}',
    "100 000 brackets": b"[" * 100_000,
    "100 000 pairs": b"[" * 100_000 + b"]" * 100_000,
    "100 000 objects": b'{"x":' * 100_000,
    "a name twice": b'{"x": [1], "y": [1], "x": [2]}',
    "a name twice, escaped": b'{"x": [1], "y": [1], "\\u0078": [2]}',
    "a name twice, inside": b'{"x": [1], "y": [1], "z": [{"a": 1, "a": 2}]}',
    "a lone surrogate": b'{"x": [1], "y": [1], "policy": "\\ud800"}',
    "surrogates turned round": b'{"policy": "\\udc00\\ud800"}',
    "a surrogate in UTF-8": b'{"policy": "\xed\xa0\x80"}',
    "Latin-1": b'{"policy": "\xe9"}',
    "UTF-16": '{"x": [1], "y": [1]}'.encode("utf-16"),
    "a control character": b'{"policy": "a\nb"}',
    "hexadecimal": b'{"x": [0x10], "y": [1]}',
    "a plus": b'{"x": [+1], "y": [1]}',
    "a form": b"x=1&y=2",
}


class TestJson:
    """A body that is no JSON is 400, one that is another JSON 422."""

    @pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
    @pytest.mark.parametrize("path", ["/v1/datasets", "/v1/fits", EVALUATE])
    def test_no_json_is_400(self, calls, some, path, body):
        headers = {"Content-Type": "application/json"}
        reply = calls.post(address(path, some), data=body, headers=headers)
        check_problem(reply, 400)

    @pytest.mark.parametrize("body", ["null", "[]", "[1]", '"a"', "1", "true"])
    @pytest.mark.parametrize("path", ["/v1/datasets", "/v1/fits", "/v1/mappings", EVALUATE])
    def test_no_object_is_422(self, calls, some, path, body):
        headers = {"Content-Type": "application/json"}
        reply = calls.post(address(path, some), data=body.encode(), headers=headers)
        check_fact(reply, 422, pointer="")

    @pytest.mark.parametrize("kind", ["application/json", "application/merge-patch+json"])
    def test_a_patch_is_read_as_strictly(self, calls, some, kind):
        headers = {"Content-Type": kind}
        path = some.address["fits"]
        check_problem(calls.patch(path, data=b"{", etag="*", headers=headers), 400)
        check_fact(calls.patch(path, data=b"[]", etag="*", headers=headers), 422, pointer="")

    @pytest.mark.parametrize(
        "kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;v=1"]
    )
    def test_the_type_may_have_parameters(self, calls, some, kind):
        body = b'{"x": [1], "y": [1]}'
        path = address(EVALUATE, some)
        assert calls.post(path, data=body, headers={"Content-Type": kind}).status == 200

    @pytest.mark.parametrize(
        "kind", ["", "text/plain", "application/xml", "application/merge-patch+json", "json"]
    )
    @pytest.mark.parametrize("path", ["/v1/datasets", "/v1/fits", "/v1/mappings", EVALUATE])
    def test_another_type_is_415_and_says_what_is_taken(self, calls, some, path, kind):
        headers = {"Content-Type": kind} if kind else {}
        reply = calls.post(address(path, some), data=b"{}", headers=headers)
        assert "application/json" in check_problem(reply, 415)["detail"]

    def test_a_large_integer_is_the_nearest_float64(self, calls):
        columns = {"x": [0, 1, 2], "y": [2**53 + 1, 10**30, -(10**300)]}
        found = calls.values(calls.a_dataset(columns)["id"], "y")["y"]
        assert found == [float(2**53 + 1), 1e30, -1e300]

    @pytest.mark.parametrize("depth", [65, 200, 900, 1015])
    @pytest.mark.parametrize(
        "body",
        [
            '{"name": "a", "columns": {"x": [1], "y": [1]}, "attributes": DEEP}',
            '{"name": "a", "columns": {"x": [1], "y": [1, DEEP]}}',
            '{"name": "a", "columns": {"x": [1], "y": [DEEP]}}',
            '{"name": "a", "columns": {"x": [1], "y": [1]}, "attributes": {"a": [1, DEEP]}}',
            '{"name": DEEP, "columns": {"x": [1], "y": [1]}}',
            '{"name": "a", "columns": DEEP, "x_column": "\\""}',
            "DEEP",
        ],
    )
    @pytest.mark.parametrize("brackets", ["[]", "{}"])
    def test_deep_but_whole_json_is_422(self, calls, depth, body, brackets):
        opening, closing = ("[", "]") if brackets == "[]" else ('{"a": ', "}")
        deep = body.replace("DEEP", opening * depth + "1" + closing * depth).encode()
        reply = calls.post("/v1/datasets", data=deep, headers={"Content-Type": "application/json"})
        check_problem(reply, 422)


class TestBodies:
    """Size, encoding and speed of a body."""

    @pytest.mark.parametrize(
        ("coding", "pack"),
        [
            ("gzip", gzip.compress),
            ("x-gzip", gzip.compress),
            ("ZSTD", zstandard.compress),
            ("identity", bytes),
        ],
    )
    def test_a_body_may_be_packed(self, calls, some, coding, pack):
        body = pack(b'{"x": [1], "y": [1]}')
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        reply = calls.post(address(EVALUATE, some), data=body, headers=headers)
        assert reply.json == calls.post(address(EVALUATE, some), {"x": [1], "y": [1]}).json

    @pytest.mark.parametrize("coding", ["br", "deflate", "gzip, zstd", "gzip,gzip", "compress"])
    @pytest.mark.parametrize("path", ["/v1/datasets", EVALUATE])
    def test_another_coding_is_415_and_says_what_is_taken(self, calls, some, path, coding):
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        reply = calls.post(address(path, some), data=gzip.compress(b"{}"), headers=headers)
        assert "gzip, zstd" in check_problem(reply, 415)["detail"]
        assert reply.headers["Accept-Encoding"] == "gzip, zstd"

    @pytest.mark.parametrize("coding", ["gzip", "zstd"])
    @pytest.mark.parametrize(
        "cut", [lambda data: data[20:], lambda data: data[:-3], lambda data: data + b"x"]
    )
    def test_a_body_that_cannot_be_unpacked_is_400(self, calls, some, coding, cut):
        pack = {"gzip": gzip.compress, "zstd": zstandard.compress}[coding]
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        body = cut(pack(b'{"x": [1], "y": [1]}'))
        reply = calls.post(address(EVALUATE, some), data=body, headers=headers)
        check_fact(reply, 400, code="bad_compression")

    def test_packed_json_larger_than_its_limit_is_413(self, limited):
        calls = limited(json_body_bytes=1000)
        columns = {"x": list(range(300)), "y": list(range(300))}
        body = gzip.compress(json.dumps({"name": "a", "columns": columns}).encode())
        assert len(body) < 1000
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        check_problem(calls.post("/v1/datasets", data=body, headers=headers), 413)

    def test_json_larger_than_its_limit_is_413(self, limited):
        calls = limited(json_body_bytes=1000)
        columns = {"x": list(range(300)), "y": list(range(300))}
        check_problem(calls.post("/v1/datasets", {"name": "a", "columns": columns}), 413)
        assert calls.a_csv("x,y\n" + "1,2\n" * 600).status == 201

    def test_a_file_larger_than_its_limit_is_413(self, limited):
        calls = limited(body_bytes=1000)
        large = "x,y\n" + "1,2\n" * 600
        check_problem(calls.a_csv(large), 413)
        check_problem(calls.post("/v1/datasets", **a_form(("file", large, "a.csv"))), 413)

    def test_a_json_body_within_its_limit_still_meets_that_of_all_bodies(self, limited):
        calls = limited(body_bytes=100)
        check_problem(calls.post("/v1/datasets", {"name": "a" * 150, "columns": CURVES}), 413)

    def test_more_rows_or_columns_than_the_limit_are_413(self, limited):
        calls = limited(rows=3, columns=3)
        wide, long = "x,a,b,c\n1,2,3,4\n", "x,y\n1,2\n3,4\n5,6\n7,8\n"
        for text in (wide, long):
            check_problem(calls.a_csv(text), 413)
            check_problem(calls.post("/v1/datasets", **a_form(("file", text, "a.csv"))), 413)
        many = {"x": [1], "a": [1], "b": [1], "c": [1]}
        check_problem(calls.post("/v1/datasets", {"name": "a", "columns": many}), 413)
        tall = {"x": [1, 2, 3, 4], "y": [1, 2, 3, 4]}
        check_problem(calls.post("/v1/datasets", {"name": "a", "columns": tall}), 413)
        assert calls.a_dataset()["n_points"] == 3

    def test_a_form_of_too_many_or_too_long_parts_is_413(self, limited):
        calls = limited(form_parts=3, form_text_bytes=100)
        file = ("file", "x,y\n1,2\n", "a.csv")
        parts = [(f"field{i}", "a") for i in range(4)]
        check_problem(calls.post("/v1/datasets", **a_form(file, *parts)), 413)
        long = ("description", "a" * 200)
        check_problem(calls.post("/v1/datasets", **a_form(file, long)), 413)

    @pytest.mark.parametrize("kind", ["application/json", "text/csv"])
    def test_a_chunked_body_larger_than_the_limit_is_413(self, short, kind):
        """No Content-Length says beforehand how much will come."""
        pieces = (b" " * 1000 for _ in range(200))
        headers = {"Content-Type": kind}
        reply = requests.post(
            f"{short.url}/v1/datasets", data=pieces, headers=headers, timeout=PATIENCE
        )
        assert reply.status_code == 413
        assert reply.headers["Content-Type"] == "application/problem+json"

    def test_a_chunked_body_is_read(self, calls):
        reply = calls.post(
            "/v1/datasets",
            data=(piece for piece in (b"x,y\n1", b",2\n", b"3,4\n")),
            headers={"Content-Type": "text/csv"},
        )
        assert reply.json["n_points"] == 2

    def test_too_many_numbers_for_one_reply_are_refused(self, limited):
        calls = limited(json_values=5)
        dataset, fit = calls.a_dataset(), calls.a_fit()
        path = f"/v1/datasets/{dataset['id']}/values"
        check_fact(calls.get(path, params={"count": 2}), 422, parameter="count")
        # Nobody has asked for so many here: as many rows as can be sent.
        assert [len(cells) for cells in calls.get(path).json["columns"].values()] == [1, 1, 1]
        body = {"x": [0, 1, 2], "y": [0, 1, 2]}
        check_problem(calls.post(f"/v1/fits/{fit['id']}/evaluate", body), 413)

    CUT_OFF = (
        ("text/csv", b"Content-Length: 100", b"x,y\n1,2\n"),
        ("text/csv", b"Transfer-Encoding: chunked", b"8\r\nx,y\n1,2\n\r\n"),
        ("text/csv", b"Transfer-Encoding: chunked", b"80\r\nx,y\n1,2\n"),
        ("text/csv", b"Transfer-Encoding: chunked", b"many\r\nx,y\n1,2\n"),
        ("text/csv", b"Transfer-Encoding: chunked", b"3\r\nx,y\n1,2\n"),
        ("application/json", b"Content-Length: 100", b'{"name": "cut"}'),
        ("multipart/form-data; boundary=b", b"Content-Length: 100", b"--b--\r\n"),
    )

    @pytest.mark.parametrize(("kind", "length", "body"), CUT_OFF)
    def test_a_body_that_is_cut_off_is_400_and_nothing_is_stored(self, server, kind, length, body):
        """A whole file would be a dataset; the same with fewer rows must not be one."""
        before = server.get("/v1/datasets").json()
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
            head = f"POST /v1/datasets HTTP/1.1\r\nHost: [::1]\r\nContent-Type: {kind}\r\n".encode()
            connection.sendall(head + length + b"\r\n\r\n" + body)
            connection.shutdown(socket.SHUT_WR)
            reply = http.client.HTTPResponse(connection)
            reply.begin()
            assert (reply.status, json.loads(reply.read())["status"]) == (400, 400)
        assert server.get("/v1/datasets").json() == before

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["application/json", "text/csv", "multipart/form-data"])
    def test_a_body_that_stalls_is_given_up_and_frees_its_thread(self, short, kind):
        """More clients stall than there are threads; each is answered, and others are served."""
        stalled = []
        for _ in range(6):
            connection = http.client.HTTPConnection("127.0.0.1", short.port, timeout=PATIENCE)
            connection.putrequest("POST", "/v1/datasets")
            content_type = f"{kind}; boundary=b" if kind.startswith("multipart") else kind
            connection.putheader("Content-Type", content_type)
            connection.putheader("Content-Length", "1000")
            connection.endheaders(b'--b\r\nContent-Disposition: form-data; name="na')
            stalled.append(connection)
        assert requests.get(f"{short.url}/health/live", timeout=PATIENCE).ok
        for connection in stalled:
            reply = connection.getresponse()
            assert reply.status in (400, 408)
            assert reply.headers["Content-Type"] == "application/problem+json"
            connection.close()


class TestLists:
    """Every list is {items, next}, with a Link to the next page."""

    LISTS = (
        "/v1/datasets",
        "/v1/fits",
        "/v1/mappings",
        "/v1/datasets/{dataset_id}/curves",
        "/v1/fits/{fit_id}/matches",
        "/v1/mappings/{mapping_id}/points",
    )

    @pytest.mark.parametrize("path", LISTS)
    def test_the_pages_hold_each_item_once_in_the_order_of_the_whole(
        self, calls, limited, some, path
    ):
        if path.count("/") == 2:
            # The server has the many records of other tests.
            calls = limited()
            for _ in range(4):
                calls.a_mapping()
        whole = [item for page in calls.pages(address(path, some), limit=500) for item in page]
        assert len(whole) > 1
        for limit in (1, 2, 3):
            pages = list(calls.pages(address(path, some), limit=limit))
            assert all(len(page) == limit for page in pages[:-1])
            assert [item for page in pages for item in page] == whole

    @pytest.mark.parametrize("path", LISTS)
    def test_an_empty_or_last_page_has_no_next_and_no_link(self, calls, some, path):
        reply = calls.get(address(path, some), params={"limit": 500})
        more = {"facets"} if path.endswith("curves") else set()
        assert set(reply.json) == {"items", "next"} | more
        assert reply.json["next"] is None
        assert next_link(reply) is None

    def test_the_link_keeps_the_other_parameters(self, calls):
        for _ in range(3):
            calls.a_dataset(name="link & keep")
        reply = calls.get(
            "/v1/datasets", params={"name": "link & keep", "limit": 1, "sort": "name"}
        )
        items = calls.get(next_link(reply)).json["items"]
        assert [item["name"] for item in items] == ["link & keep"]
        assert next_link(calls.get(next_link(reply)))

    @pytest.mark.parametrize("path", LISTS)
    @pytest.mark.parametrize(
        "cursor",
        [
            "",
            "nobody",
            "!!!",
            "é",
            "A" * 2000,
            a_cursor([]),
            a_cursor({}),
            a_cursor({"a": 1, "b": 2}),
            a_cursor(7),
            a_cursor(None),
            a_cursor([None]),
            a_cursor([1.5]),
            a_cursor([True]),
            a_cursor([-1]),
            a_cursor([2**63]),
            a_cursor([2**64]),
            a_cursor(["a", "b", "c"]),
            a_cursor(["2026-01-01", "a"]),
            a_cursor(["2026-01-01T00:00:00", "a"]),
            a_cursor(["0001-01-01T00:00:00+14:00", "a"]),
            a_cursor(["9999-12-31T23:59:59-14:00", "a"]),
            a_cursor(["2026-01-01T00:00:00Z", "a\0"]),
            a_cursor([[[]]]),
        ],
    )
    def test_a_forged_cursor_is_422(self, calls, some, path, cursor):
        reply = calls.get(address(path, some), params={"cursor": cursor})
        check_fact(reply, 422, parameter="cursor")


class TestService:
    """Limits, health, documentation and the page."""

    def test_the_limits_are_those_in_force(self, calls, limited):
        names = {"body_bytes", "json_body_bytes", "rows", "columns", "page", "top_k"}
        assert names <= set(calls.get("/v1/limits").json)
        assert limited(rows=77).get("/v1/limits").json["rows"] == 77

    def test_the_page_and_top_k_of_the_limits_are_taken_and_one_more_is_not(self, calls, some):
        limits = calls.get("/v1/limits").json
        assert calls.get("/v1/fits", params={"limit": limits["page"]}).status == 200
        assert calls.get("/v1/fits", params={"limit": limits["page"] + 1}).status == 422
        ids = {"training_id": some.dataset["id"], "ideal_id": some.dataset["id"]}
        body = ids | {"top_k": limits["top_k"]}
        assert calls.post("/v1/fits", body).status == 201
        body["top_k"] += 1
        check_fact(calls.post("/v1/fits", body), 422, pointer="/top_k")

    @pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
    def test_it_is_alive_and_ready(self, calls, path):
        assert calls.get(path).json["status"] == "ok"

    def test_the_document_is_openapi_3_1(self, calls):
        assert calls.get("/openapi.json").json["openapi"].startswith("3.1")

    @pytest.mark.parametrize("path", ["/", "/docs"])
    def test_pages_load_only_our_own_files(self, calls, path):
        reply = calls.get(path)
        assert reply.type == "text/html"
        for source in re.findall(r'(?:src|href)="([^"]+)"', reply.text):
            assert source.startswith(("/", "#")), source
            if source.startswith("/static"):
                assert calls.get(source).status == 200
        assert "script-src" not in reply.headers["Content-Security-Policy"]
        assert "default-src 'self'" in reply.headers["Content-Security-Policy"]

    def test_the_reader_of_the_document_has_its_files(self, calls):
        assert "/static/swagger-ui/" in calls.get("/docs").text

    @pytest.mark.parametrize("name", ["..%2fsetup.py", "%2e%2e/__init__.py", "nobody.js", ".."])
    def test_static_files_are_those_alone(self, calls, name):
        assert calls.get(f"/static/swagger-ui/{name}").status == 404
