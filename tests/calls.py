"""Calls of the service, over a socket or without one, and factories of records."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

import numpy as np

from tests.waiting import PATIENCE

CURVES = {"x": [0.0, 1.0, 2.0], "y1": [1.0, 2.0, 3.0], "y2": [3.0, 2.0, 1.5]}
LIBRARY = {
    "x": [0.0, 1.0, 2.0],
    "f1": [1.0, 2.0, 3.5],
    "f2": [3.0, 2.0, 1.0],
    "f3": [0.0, 0.0, 0.0],
}
POINTS = {"x": [0.0, 1.0, 2.0, 7.0], "y": [1.0, 2.25, None, 0.0]}

RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: object
    body: bytes

    @property
    def json(self):
        return json.loads(self.body, parse_constant=_refuse)

    @property
    def text(self):
        return self.body.decode()

    @property
    def type(self):
        return self.headers.get("Content-Type", "").partition(";")[0]

    @property
    def etag(self):
        return self.headers["ETag"]


def some_doubles(count, seed=1):
    """Random finite float64 of all sizes, among them subnormals, zeros and the extremes."""
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 2**64, 2 * count, dtype=np.uint64).view(np.float64)
    # The exponents of one in ten are cleared, which leaves a subnormal number.
    tiny = (numbers[: count // 10].view(np.uint64) & np.uint64(0x800FFFFFFFFFFFFF)).view(np.float64)
    special = [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1]
    numbers = np.concatenate((special, tiny, numbers[np.isfinite(numbers)]))[:count]
    return random.permutation(numbers).tolist()


def same_bits(found, expected):
    """Tell whether two lists of float64 are the same, -0.0 and 0.0 told apart."""
    return np.array(found, dtype="<f8").tobytes() == np.array(expected, dtype="<f8").tobytes()


def _refuse(word):
    raise AssertionError(f"{word} is no JSON")


def a_form(*parts):
    """Body and headers of a form; a part is (name, text), or (name, text, file name[, type])."""
    body = b""
    for name, content, *file in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{file[0]}"' if file else "")
        body += f"--frontier\r\nContent-Disposition: {disposition}\r\n".encode()
        if len(file) > 1:
            body += f"Content-Type: {file[1]}\r\n".encode()
        body += b"\r\n" + (content if isinstance(content, bytes) else content.encode()) + b"\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=frontier"}
    return {"data": body + b"--frontier--\r\n", "headers": headers}


class Calls:
    """Sends requests by a function (method, path, data, headers, params) -> Reply."""

    def __init__(self, send):
        self.send = send

    def __call__(self, method, path, *, json_body=None, data=None, headers=None, params=None):
        headers = dict(headers or {})
        if json_body is not None:
            data = json.dumps(json_body).encode()
            headers.setdefault("Content-Type", "application/json")
        return self.send(method, path, data, headers, params)

    def get(self, path, **options):
        return self("GET", path, **options)

    def head(self, path, **options):
        return self("HEAD", path, **options)

    def options(self, path, **options):
        return self("OPTIONS", path, **options)

    def post(self, path, json_body=None, **options):
        return self("POST", path, json_body=json_body, **options)

    def patch(self, path, json_body=None, etag=None, **options):
        headers = ({"If-Match": etag} if etag else {}) | options.pop("headers", {})
        return self("PATCH", path, json_body=json_body, headers=headers, **options)

    def delete(self, path, etag=None, **options):
        headers = {"If-Match": etag} if etag else {}
        return self("DELETE", path, headers=headers, **options)

    # ---- makers of records, each the record as the service gave it

    def made(self, path, body):
        reply = self.post(path, body)
        assert reply.status == HTTPStatus.CREATED, reply.text
        return reply.json

    def a_dataset(self, columns=CURVES, name="curves", **fields):
        return self.made("/v1/datasets", {"name": name, "columns": columns, **fields})

    def a_csv(self, text, params=None, kind="text/csv"):
        """POST a file as it is; the reply."""
        data = text if isinstance(text, bytes) else text.encode()
        return self.post("/v1/datasets", data=data, headers={"Content-Type": kind}, params=params)

    def a_fit(self, training=CURVES, ideal=LIBRARY, **options):
        """Fit training curves to a library; each is columns, or the id of a dataset."""
        body = {"training_id": self._id(training), "ideal_id": self._id(ideal), **options}
        return self.made("/v1/fits", body)

    def a_mapping(self, fit=None, test=POINTS, **options):
        """Map test points, which are columns or the id of a dataset, with the id of a fit."""
        fit_id = fit or self.a_fit()["id"]
        return self.made("/v1/mappings", {"fit_id": fit_id, "test_id": self._id(test), **options})

    def _id(self, source):
        return source if isinstance(source, str) else self.a_dataset(source)["id"]

    def values(self, dataset_id, *names):
        """Columns of a dataset, all rows, by name."""
        params = [("columns", name) for name in names] + [("count", 10**6)]
        return self.get(f"/v1/datasets/{dataset_id}/values", params=params).json["columns"]

    def pages(self, path, **params):
        """All pages of a list, by their Link headers, each checked against `next`."""
        query = params or None
        while path:
            reply = self.get(path, params=query)
            assert reply.status == HTTPStatus.OK, reply.text
            yield reply.json["items"]
            path, query = next_link(reply), None
            assert (path is None) == (reply.json["next"] is None)


def next_link(reply):
    """Target of rel=next, or None."""
    link = reply.headers.get("Link")
    if link is None:
        return None
    return re.fullmatch(r'<(/[^>]*)>; rel="next"', link)[1]


def over_socket(server):
    """Calls of a running server, each by a connection that the session keeps."""

    def send(method, path, data, headers, params):
        reply = server.session.request(
            method, server.url + path, data=data, headers=headers, params=params, timeout=PATIENCE
        )
        return Reply(reply.status_code, reply.headers, reply.content)

    return Calls(send)


def over_wsgi(app):
    """Calls of an application, without a socket; threads may share it."""

    def send(method, path, data, headers, params):
        reply = app.test_client().open(
            path,
            method=method,
            data=data,
            headers=headers,
            query_string=urlencode(params, doseq=True) if params else None,
        )
        body = reply.get_data()
        reply.close()
        return Reply(reply.status_code, reply.headers, body)

    return Calls(send)


def check_problem(reply, status):
    """The body of an error, after a look at all that every error has."""
    assert (reply.status, reply.type) == (status, "application/problem+json"), reply.text
    body = reply.json
    assert set(body) >= {"type", "title", "status", "detail", "errors", "request_id"}
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == reply.headers["X-Request-ID"]
    for fact in body["errors"]:
        assert fact["detail"]
        assert fact["code"]
        assert None not in fact.values()
    return body


def check_fact(reply, status, **expected):
    """The first of the errors, which must hold what is expected."""
    errors = check_problem(reply, status)["errors"]
    assert errors, reply.text
    assert errors[0] | expected == errors[0]
    return errors[0]
