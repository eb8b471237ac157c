"""Curves of one file on the grid that the client asks for."""

import pytest

from tests.calls import a_form, check_fact
from tests.spectra import JCAMP, a_jcamp

PATH = "/v1/datasets"
TEXT = b"x,a,b\n0,0,1\n1,10,\n2,20,3\n"

TWO_BLOCKS = a_jcamp(["0,1 1,2"], "(XY..XY)", TITLE="a") + a_jcamp(
    ["1,5 2,6"], "(XY..XY)", TITLE="b"
)


def post(calls, data, kind="text/csv", **query):
    return calls.post(PATH, data=data, headers={"Content-Type": kind}, params=query)


def read(calls, reply):
    assert reply.status == 201, reply.text
    return calls.get(f"{PATH}/{reply.json['id']}/values").json["columns"]


def test_a_file_is_read_at_steps(calls):
    columns = read(calls, post(calls, TEXT, grid="0.5:2.5:0.5"))
    assert columns == {
        "x": [0.5, 1.0, 1.5, 2.0, 2.5],
        "a": [5.0, 10.0, 15.0, 20.0, None],
        "b": [None, None, None, 3.0, None],
    }


def test_steps_can_be_exact(calls):
    columns = read(calls, post(calls, TEXT, grid="0:2:0.5", alignment="exact"))
    assert columns["a"] == [0.0, None, 10.0, None, 20.0]


def test_options_are_fields_of_a_form_too(calls):
    reply = calls.post(
        PATH, **a_form(("file", TEXT, "a.csv"), ("grid", "0:1:1"), ("x_tolerance", ""))
    )
    assert read(calls, reply)["a"] == [0.0, 10.0]


def test_json_in_a_file_is_joined_too(calls):
    data = b'{"columns": {"x": [0, 2], "y": [0, 4]}}'
    reply = calls.post(PATH, **a_form(("file", data, "a.json"), ("grid", "0:2:1")))
    assert read(calls, reply)["y"] == [0.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("grid", "x", "a"),
    [("union", [0.0, 1.0, 2.0], [1.0, 2.0, None]), ("common", [1.0], [2.0])],
)
def test_blocks_of_a_spectrum_are_joined(calls, grid, x, a):
    columns = read(calls, post(calls, TWO_BLOCKS, JCAMP, grid=grid))
    assert columns.pop("x") == x
    assert a in columns.values()
    assert len(columns) == 2


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"grid": "all"}, "grid"),
        ({"grid": "0:1:0"}, "grid"),
        ({"alignment": "exact"}, "alignment"),
        ({"grid": "0:1:1", "x_tolerance": "1"}, "x_tolerance"),
        ({"grid": "union", "x_tolerance": "-1"}, "x_tolerance"),
        ({"x_tolerance": "nan"}, "x_tolerance"),
        ({"x_tolerance": "1e999"}, "x_tolerance"),
    ],
)
def test_options_of_joining_that_cannot_be_are_refused(calls, query, parameter):
    check_fact(post(calls, TEXT, **query), 422, parameter=parameter)


def test_a_grid_is_bounded(calls):
    check_fact(post(calls, TEXT, grid="0:1:1e-12"), 413, parameter="grid")


def test_appended_curves_can_be_read_at_the_grid_of_the_dataset(calls):
    record = calls.a_dataset({"x": [0.0, 0.5, 1.0], "y": [1.0, 2.0, 3.0]})
    path = f"{PATH}/{record['id']}/curves"
    given = {"data": TEXT, "headers": {"Content-Type": "text/csv"}}
    assert calls.post(path, **given, params={"grid": "0:1:0.5"}).status == 200
    assert calls.get(f"{PATH}/{record['id']}/values").json["columns"]["a"] == [0.0, 5.0, 10.0]
    check_fact(calls.post(path, **given, params={"grid": "0:1:0.25"}), 422, code="other_x")


def test_pairs_of_different_x_are_told_apart_by_their_curves(calls):
    reply = post(calls, b"x1,a,x2,b\n1,2,1.5,3\n2,3,2.5,4\n", layout="pairs", name="t")
    fact = check_fact(reply, 422, code="other_x")
    assert "'b' has another x than 'a'" in fact["detail"]
