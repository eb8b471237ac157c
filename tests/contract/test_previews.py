"""A preview says how a file would be read, and stores nothing."""

from __future__ import annotations

import pytest

from tests.calls import CURVES, a_form, check_problem
from tests.files import a_parquet

PATH = "/v1/datasets/preview"


def preview(calls, data, name="a.csv", **fields):
    return calls.post(PATH, **a_form(("file", data, name), *fields.items()))


def test_it_is_the_record_that_would_be_stored(calls):
    body = {"name": "a", "columns": CURVES, "description": "d", "attributes": {"b": 1}}
    shown, stored = calls.post(PATH, body), calls.post("/v1/datasets", body)
    assert shown.status == 200
    mine = {"complete", "columns", "rows", "lines", "readings"}
    assert {name: value for name, value in shown.json.items() if name not in mine} == {
        name: value
        for name, value in stored.json.items()
        if name not in {"id", "version", "created_at", "updated_at"}
    }
    assert (shown.json["complete"], shown.json["lines"], shown.json["readings"]) == (True, [], [])
    assert shown.json["columns"] == list(CURVES)
    assert shown.json["rows"] == [list(row) for row in zip(*CURVES.values(), strict=True)]


def test_nothing_is_stored(calls):
    before = calls.get("/v1/datasets").json["items"]
    assert preview(calls, b"x,y\n1,2\n").status == 200
    assert calls.get("/v1/datasets").json["items"] == before


def test_the_first_lines_and_rows_of_a_text(calls):
    lines = ["# note", "x,y", *(f"{at},{at + 0.5}" for at in range(100))]
    shown = preview(calls, "\n".join(lines).encode()).json
    assert shown["lines"] == lines[:40]
    assert shown["rows"] == [[float(at), at + 0.5] for at in range(20)]
    assert shown["source"]["skipped"] == ["# note"]


@pytest.mark.parametrize(
    ("data", "options", "first_row"),
    [
        (b"time,x\n1,2\n3,4\n", {"x_column": "time"}, {"time": 1.0, "x": 2.0}),
        (b"a,b\n1,2\n3,4\n", {"header": "absent"}, {"x": 1.0, "a": 2.0}),
        (b"s;1;2\n1;3;4\n", {"layout": "rows"}, {"s": 1.0, "1": 3.0}),
    ],
)
def test_other_readings_have_their_options(calls, data, options, first_row):
    reply = preview(calls, data)
    assert reply.status == 200
    found = [reading for reading in reply.json["readings"] if reading["options"] == options]
    assert [reading["first_row"] for reading in found] == [first_row]
    again = preview(calls, data, **options).json
    assert dict(zip(again["columns"], again["rows"][0], strict=True)) == first_row


def test_a_refusal_has_the_readings_to_choose_between(calls):
    reply = preview(calls, b'x\tc\n998\t1\n"1,001"\t2\n')
    problem = check_problem(reply, 422)
    assert problem["errors"][0]["code"] == "ambiguous_thousands"
    assert {"decimal": ","} in [reading["options"] for reading in problem["readings"]]
    assert {"thousands": ","} in [reading["options"] for reading in problem["readings"]]
    assert check_problem(preview(calls, b""), 422)["readings"] == []


def test_a_part_of_a_text(calls):
    whole = b"x,y\n" + b"".join(b"%d.25,7\n" % at for at in range(1000))
    shown = preview(calls, whole[:5001], partial="true").json
    assert shown["complete"] is False
    names = ("n_points", "x_min", "x_max", "n_gaps", "sha256")
    assert [shown[name] for name in names] == [None] * 5
    assert shown["rows"][0] == [0.25, 7.0]
    reply = calls.post(
        PATH,
        data=whole[:5001],
        headers={"Content-Type": "text/csv"},
        params={"partial": "true", "name": "a"},
    )
    assert reply.json == shown


def test_a_part_of_a_text_is_bounded(limited):
    calls = limited(json_body_bytes=1000)
    reply = preview(calls, b"x,y\n" + b"1,2\n" * 300, partial="true")
    (fact,) = check_problem(reply, 413)["errors"]
    assert (fact["code"], fact["parameter"]) == ("too_many_bytes", "partial")
    assert preview(calls, b"x,y\n" + b"1,2\n" * 200, partial="true").status == 200


@pytest.mark.parametrize(
    ("text", "encoding", "fields"),
    [
        ("\u00b0C,y\n1,2\n", "windows-1252", {}),
        ("\u00b0C,y\n1,2\n", "latin-1", {"encoding": "latin-1"}),
        ("\u00b0C,y\r\n1,2\r\n", "utf-16", {}),
        ("\u00b0C,y\r1,2\r", "utf-16-le", {"encoding": "utf-16"}),
        ("\u00b0C,y\n1,2\n", "utf-8-sig", {}),
    ],
)
def test_lines_are_shown_as_they_are_read(calls, text, encoding, fields):
    shown = preview(calls, text.encode(encoding), **fields).json
    assert (shown["columns"], shown["lines"]) == (["\u00b0C", "y"], ["\u00b0C,y", "1,2", ""])


def test_only_a_text_can_be_partial(calls):
    data = a_parquet({"x": [1.0], "y": [2.0]})
    problem = check_problem(preview(calls, data, "a.parquet", partial="true"), 422)
    assert problem["errors"][0]["parameter"] == "partial"
