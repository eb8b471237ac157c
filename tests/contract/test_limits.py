"""Each limit of `GET /v1/limits` is in force: at its value, above it, and as its variable sets it.

A new limit without a case here fails. A case is a small value and a function that sends a request
which needs a given amount; if no single request can show a limit, `ELSEWHERE` names its test.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from api.app import create_app
from api.config import Settings
from api.limits import Limits
from api.running import running
from services.tables import NAME_LENGTH
from tests.archives import ZIP, a_zip
from tests.calls import CURVES, a_form, check_problem, over_wsgi
from tests.files import PARQUET, a_parquet, a_text

ROOT = Path(__file__).parents[2]
NAMES = [field.name for field in fields(Limits)]
FIXED = {field.name for field in fields(Limits) if field.metadata["fixed"]}
SMALL = {"x": [1.0, 2.0], "y": [3.0, 4.0]}


def json_of(length):
    """JSON of a dataset, of so many bytes."""
    body = json.dumps({"name": "a", "columns": SMALL}).encode()
    return {"data": body.ljust(length), "headers": {"Content-Type": "application/json"}}


def a_table(columns, rows):
    return {f"c{i}": [float(row) for row in range(rows)] for i in range(columns)}


def a_file(data, kind="text/csv"):
    return {"data": data, "headers": {"Content-Type": kind}}


def nested(depth):
    """JSON of a dataset whose attributes make it so deep."""
    value = 1
    for _ in range(depth - 2):
        value = [value]
    return {"name": "a", "columns": SMALL, "attributes": {"a": value}}


def fields_of(count):
    """A form of so many fields, and a file."""
    texts = [("name", "a"), ("description", "b"), ("x_column", "x"), ("header", "present")]
    return a_form(*texts[:count], ("file", b"x,y\n1,2\n", "a.csv"))


def files_of(count):
    """A form of so many files."""
    return a_form(*(("file", b"x,y\n1,2\n", f"{i}.csv") for i in range(count)))


def members_of(count):
    """An archive of so many files."""
    return a_file(a_zip({f"{i}.csv": b"x,y\n1,2\n" for i in range(count)}), ZIP)


def a_fit(calls, **options):
    """POST a fit of three curves to themselves."""
    identifier = calls.a_dataset(CURVES | {"y3": [5.0, 5.0, 6.0]})["id"]
    return calls.post("/v1/fits", {"training_id": identifier, "ideal_id": identifier, **options})


def values_of(calls, count):
    """GET so many numbers as JSON."""
    identifier = calls.a_dataset({"x": [float(i) for i in range(count)], "y": [0.0] * count})["id"]
    params = {"columns": "x", "count": count}
    return calls.get(f"/v1/datasets/{identifier}/values", params=params)


def upload(make):
    """POST of what a function of the count makes."""
    return lambda calls, count: calls.post("/v1/datasets", **make(count))


CASES = {
    "body_bytes": (100, upload(lambda count: a_file(b"x,y\n1,2\n".ljust(count, b"\n")))),
    "json_body_bytes": (100, upload(json_of)),
    "columns": (5, upload(lambda count: a_file(a_text(a_table(count, 3))))),
    "curves": (
        5,
        upload(
            lambda count: a_file(
                a_parquet(
                    {
                        "name": ["x", *(f"c{i}" for i in range(count))],
                        "y": [[1.0, 2.0]] * (count + 1),
                    }
                ),
                PARQUET,
            )
        ),
    ),
    "rows": (5, upload(lambda count: a_file(a_text(a_table(2, count))))),
    "json_values": (5, values_of),
    "name_length": (
        200,
        lambda calls, n: calls.post("/v1/datasets", {"name": "a" * n, "columns": SMALL}),
    ),
    "top_k": (2, lambda calls, count: a_fit(calls, top_k=count)),
    "matches": (1, lambda calls, count: a_fit(calls, training_curves=["y1"], top_k=count)),
    "page": (500, lambda calls, count: calls.get("/v1/datasets", params={"limit": count})),
    "json_depth": (5, lambda calls, depth: calls.post("/v1/datasets", nested(depth))),
    "json_arrays": (
        7,
        # The body, its columns and attributes, x, y and the list are six themselves.
        lambda calls, n: calls.post(
            "/v1/datasets", {"name": "a", "columns": SMALL, "attributes": {"a": [[]] * (n - 6)}}
        ),
    ),
    "json_texts": (
        9,
        # name, a, columns, x, y, attributes, a are seven themselves.
        lambda calls, n: calls.post(
            "/v1/datasets", {"name": "a", "columns": SMALL, "attributes": {"a": [""] * (n - 7)}}
        ),
    ),
    "files": (3, upload(files_of)),
    "form_parts": (3, upload(fields_of)),
    "form_text_bytes": (
        5000,
        upload(
            lambda count: a_form(("description", "b" * count), ("file", b"x,y\n1,2\n", "a.csv"))
        ),
    ),
}
"""A value of each limit, and a request that needs so much."""

ELSEWHERE = {
    "unpacked_bytes": "tests/services/files/test_compressed.py",
    "expansion": "tests/services/files/test_compressed.py",
    "sheet_bytes": "tests/services/files/test_sheets.py",
    "read_memory_bytes": "tests/services/files/test_sandbox.py",
    "read_seconds": "tests/services/files/test_sandbox.py",
    "files_seconds": "tests/contract/test_many_files.py",
    "body_stall_seconds": "tests/contract/test_http.py",
    "points": "tests/contract/test_evaluations.py",
    "reply_bytes": "tests/contract/test_evaluations.py",
    **dict.fromkeys(
        (
            "header_seconds",
            "slow_seconds",
            "body_bytes_per_second",
            "reply_bytes_per_second",
            "drain_seconds",
        ),
        "tests/contract/test_connections.py",
    ),
}
"""Tests of limits that one small request cannot reach."""


@pytest.fixture
def under(tmp_path, sqlite_template):
    """Factory of calls of an app with one limit set by its variable."""
    apps = []

    def make(name, value):
        shutil.copy(sqlite_template, tmp_path / "idealfit.db")
        variables = {"IDEALFIT_DATA": str(tmp_path)}
        if name not in FIXED:
            variables[f"IDEALFIT_{name.upper()}"] = str(value)
        apps.append(create_app(Settings.from_environment(variables)))
        return over_wsgi(apps[-1])

    yield make
    for app in apps:
        running(app).database.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_is_tested(name):
    assert name in CASES or (ROOT / ELSEWHERE[name]).is_file()


@pytest.mark.parametrize("name", CASES)
def test_a_limit_is_in_force_as_its_variable_says(under, name):
    value, ask = CASES[name]
    calls = under(name, value)
    assert calls.get("/v1/limits").json[name] == value
    assert ask(calls, value).status in {200, 201}
    above = ask(calls, value + 1)
    assert above.status in {413, 422}
    check_problem(above, above.status)


def test_members_of_an_archive_are_files(under):
    calls = under("files", 3)
    assert calls.post("/v1/datasets", **members_of(3)).status == 201
    check_problem(calls.post("/v1/datasets", **members_of(4)), 413)


def test_the_document_shows_the_limits_in_force(under):
    document = under("top_k", 7).get("/openapi.json").json
    assert document["components"]["schemas"]["FitRequest"]["properties"]["top_k"]["maximum"] == 7


def test_names_are_as_long_as_the_database_has_room_for():
    assert Limits().name_length == NAME_LENGTH


def test_a_small_limit_of_fields_does_not_count_the_file(under):
    form = a_form(("name", "a"), ("file", b"x,y\n" + b"1,2\n" * 30_000, "a.csv"))
    assert under("form_text_bytes", 10).post("/v1/datasets", **form).status == 201
