"""Datasets: every kind of upload, the record, values, curves and refusals."""

from __future__ import annotations

import math

import pytest

from tests.calls import (
    CURVES,
    POINTS,
    RFC3339_UTC,
    a_form,
    check_fact,
    check_problem,
    same_bits,
    some_doubles,
)

CSV = "x,y1,y2\n0,1,3\n1,2,2\n2,3,1.5\n"
TSV = CSV.replace(",", "\t")
RECORD = {
    "id",
    "name",
    "description",
    "attributes",
    "x_column",
    "x_unit",
    "usable_as",
    "n_points",
    "n_curves",
    "x_min",
    "x_max",
    "n_gaps",
    "sha256",
    "source",
    "warnings",
    "version",
    "created_at",
    "updated_at",
}
TSV_TYPE = "text/tab-separated-values"


def a_file(text=CSV, name="curves.csv", *parts):
    return a_form(("file", text, name), *parts)


class TestRecord:
    """201, Location, ETag and the record."""

    def test_a_post_gives_the_record_and_where_it_is(self, calls):
        reply = calls.post("/v1/datasets", {"name": "train", "columns": CURVES})
        assert reply.status == 201
        assert set(reply.json) >= RECORD
        found = calls.get(reply.headers["Location"])
        assert (found.json, found.etag) == (reply.json, reply.etag)
        assert reply.headers["Location"] == f"/v1/datasets/{reply.json['id']}"

    def test_the_record_says_what_the_table_is(self, calls):
        columns = {"t": [2.0, None, -1.5], "a": [1.0, None, 3.0], "b": [None, None, None]}
        record = calls.a_dataset(columns, x_column="t", description="d", attributes={"k": [1]})
        expected = {
            "name": "curves",
            "description": "d",
            "attributes": {"k": [1]},
            "x_column": "t",
            "n_points": 3,
            "n_curves": 2,
            "x_min": -1.5,
            "x_max": 2.0,
            "n_gaps": 4,
            "version": 1,
        }
        assert record | expected == record
        assert isinstance(record["id"], str)
        assert RFC3339_UTC.fullmatch(record["created_at"])
        assert RFC3339_UTC.fullmatch(record["updated_at"])

    def test_nullable_fields_are_null_and_not_left_out(self, calls):
        record = calls.a_dataset({"x": [None, None], "y": [1.0, 2.0]})
        assert (record["x_min"], record["x_max"]) == (None, None)
        source = {name: value for name, value in record["source"].items() if value is not None}
        assert source == {"format": "json", "skipped": [], "gap": []}
        assert {"encoding", "header", "compression", "sheet", "first_line"} <= record[
            "source"
        ].keys()
        (curve,) = calls.get(f"/v1/datasets/{record['id']}/curves").json["items"]
        assert curve["y_mean"] == 1.5
        record = calls.a_dataset({"x": [1.0], "y": [None]})
        (curve,) = calls.get(f"/v1/datasets/{record['id']}/curves").json["items"]
        assert (curve["y_min"], curve["y_max"], curve["y_mean"]) == (None, None, None)

    def test_a_cell_that_lost_its_decimal_point_is_a_warning(self, calls):
        cells = [-0.731, -0.73, -729, -0.728, -0.726, None]
        record = calls.a_dataset({"x": list(range(6)), "a": [1.0] * 6, "b": cells})
        (warning,) = record["warnings"]
        assert (warning["code"], warning["column"], warning["row"]) == (
            "lost_decimal_point",
            "b",
            2,
        )
        assert "-729.0 is thousands of times its neighbours; -0.729 would fit" in warning["detail"]
        assert calls.values(record["id"])["b"] == cells
        lines = [f"{row},{'' if cell is None else cell}" for row, cell in enumerate(cells)]
        reply = calls.post(
            f"/v1/datasets/{record['id']}/curves",
            data="\n".join(["x,c", *lines]).encode(),
            headers={"Content-Type": "text/csv"},
        )
        assert [found["column"] for found in reply.json["warnings"]] == ["b", "c"]
        assert calls.a_dataset()["warnings"] == []

    def test_a_name_need_not_be_unique(self, calls):
        first, second = calls.a_dataset(name="twice"), calls.a_dataset(name="twice")
        assert first["id"] != second["id"]

    def test_text_is_kept_as_sent(self, calls):
        text = "Größe\u2028\t\"'<b>\\ 温度 \U0001f600\u200b"
        attributes = {text: {"": [None, True, 1, 2.5, text, {"deep": [[]]}]}, "plain": "\\u0000"}
        record = calls.a_dataset(name=text, description=text, attributes=attributes)
        assert (record["name"], record["description"]) == (text, text)
        assert record["attributes"] == attributes
        assert calls.get(f"/v1/datasets/{record['id']}").json == record

    def test_spaces_around_names_are_removed(self, calls):
        columns = {" x ": [1.0], "\tY1": [2.0], "a b ": [3.0]}
        record = calls.a_dataset(columns, name="  spaced out ")
        assert (record["name"], record["x_column"]) == ("spaced out", "x")
        assert list(calls.values(record["id"])) == ["x", "Y1", "a b"]

    @pytest.mark.parametrize(
        ("columns", "x_column", "expected"),
        [
            ({"a": [1.0], "x": [2.0]}, None, "x"),
            ({"a": [1.0], "X": [2.0]}, None, "X"),
            ({"X": [1.0], "x": [2.0]}, None, "x"),
            ({"a": [1.0], "b": [2.0]}, None, "a"),
            ({"x": [1.0], "b": [2.0]}, "b", "b"),
            ({"x": [1.0], "b": [2.0]}, " b ", "b"),
        ],
    )
    def test_the_x_column_is_named_or_called_x_or_the_first(
        self, calls, columns, x_column, expected
    ):
        record = calls.a_dataset(columns, x_column=x_column)
        assert record["x_column"] == expected
        others = [name for name in columns if name != expected]
        assert list(calls.values(record["id"])) == [expected, *others]
        text = ",".join(columns) + "\n" + ",".join(str(v[0]) for v in columns.values()) + "\n"
        params = {"x_column": x_column} if x_column else None
        assert calls.a_csv(text, params).json["x_column"] == expected

    def test_y1_and_capital_y1_are_two_names(self, calls):
        record = calls.a_dataset({"x": [1.0], "y1": [2.0], "Y1": [3.0]})
        assert calls.values(record["id"], "Y1", "y1") == {"Y1": [3.0], "y1": [2.0]}

    def test_columns_and_rows_keep_the_order_sent(self, calls):
        names = [f"c{i * 37 % 101}" for i in range(40)]
        columns = {"x": [3.0, 1.0, 1.0, None]} | {n: [float(len(n)), 0.0, None, 9.0] for n in names}
        record = calls.a_dataset(columns)
        assert list(calls.values(record["id"]).items()) == list(columns.items())
        curves = calls.get(f"/v1/datasets/{record['id']}/curves").json["items"]
        assert [(curve["index"], curve["name"]) for curve in curves] == list(enumerate(names))


class TestUploads:
    """JSON, a form, the file itself: the same numbers are the same dataset."""

    def test_every_kind_of_upload_gives_the_same_fingerprint(self, calls):
        replies = [
            calls.post("/v1/datasets", {"name": "a", "columns": CURVES}),
            calls.a_csv(CSV),
            calls.a_csv(TSV, kind=TSV_TYPE),
            calls.post("/v1/datasets", **a_file()),
            calls.post("/v1/datasets", **a_file(TSV, "curves.tsv")),
            calls.a_csv("\ufeff" + CSV),
            calls.a_csv(("\ufeff" + CSV).encode("utf-16-le")),
            calls.a_csv(CSV.replace("\n", "\r\n")),
            calls.a_csv(CSV.replace("\n", "\r\r\n")),
            calls.a_csv(CSV.replace("\n", "\r")),
            calls.a_csv(CSV.replace(",", ";").replace("1.5", "1,5")),
            calls.a_csv(CSV.replace(",", " | ").replace("| 2", "| +2.")),
            calls.a_csv(CSV.replace("0,1,3", '"0" , "1","3"\n\n')),
        ]
        assert [reply.status for reply in replies] == [201] * len(replies)
        assert len({reply.json["sha256"] for reply in replies}) == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"x": [0.0, 1.0], "y": [1.0, 3.0]},
            {"x": [0.0, 1.0], "Y": [1.0, 2.0]},
            {"t": [0.0, 1.0], "y": [1.0, 2.0]},
            {"x": [-0.0, 1.0], "y": [1.0, 2.0]},
            {"x": [0.0, 1.0], "y": [1.0, None]},
            {"x": [1.0, 0.0], "y": [2.0, 1.0]},
            {"x": [0.0, 1.0], "y": [1.0, 2.0], "z": [1.0, 2.0]},
        ],
    )
    def test_other_names_or_values_have_another_fingerprint(self, calls, other):
        one = calls.a_dataset({"x": [0.0, 1.0], "y": [1.0, 2.0]})
        assert one["sha256"] != calls.a_dataset(other)["sha256"]

    def test_the_name_and_description_are_no_part_of_the_fingerprint(self, calls):
        one, two = calls.a_dataset(), calls.a_dataset(name="other", description="d")
        assert one["sha256"] == two["sha256"]

    def test_minus_zero_is_minus_zero_however_it_is_written(self, calls):
        """JSON -0 is a float64 too, and CSV -0 the same one."""
        json_body = b'{"name": "zero", "columns": {"x": [-0], "y": [-0.0], "z-0,": [-0e1]}}'
        headers = {"Content-Type": "application/json"}
        one = calls.post("/v1/datasets", data=json_body, headers=headers).json
        two = calls.a_csv('x,y,"z-0,"\n-0,-0.0,-0e1\n').json
        assert one["sha256"] == two["sha256"]
        for column in calls.values(one["id"]).values():
            assert math.copysign(1, column[0]) == -1

    @pytest.mark.parametrize(
        ("text", "kind", "expected"),
        [
            (CSV, "text/csv", ("csv", "utf-8", ",", ".", "present")),
            (TSV, TSV_TYPE, ("tsv", "utf-8", "\t", ".", "present")),
            ("\ufeff" + CSV, "text/csv", ("csv", "utf-8-sig", ",", ".", "present")),
            ("x;y\n1,5;2\n", "text/csv", ("csv", "utf-8", ";", ",", "present")),
            ("x|y\n1.5|2\n", "text/csv", ("csv", "utf-8", "|", ".", "present")),
            ("x\ty\n1.5\t2\n", "text/csv", ("csv", "utf-8", "\t", ".", "present")),
            (CSV, "text/csv; charset=utf-8; header=present", ("csv", "utf-8", ",", ".", "present")),
        ],
    )
    def test_the_source_says_how_a_file_was_read(self, calls, text, kind, expected):
        names = ("format", "encoding", "delimiter", "decimal", "header", "compression", "sheet")
        source = calls.a_csv(text, kind=kind).json["source"]
        assert tuple(map(source.get, names)) == (*expected, None, None)

    def test_a_raw_file_has_its_fields_in_the_query(self, calls):
        params = {
            "name": " raw ",
            "description": "d",
            "attributes": '{"a": {"b": 1}}',
            "x_column": "y1",
        }
        record = calls.a_csv(CSV, params).json
        assert (record["name"], record["description"], record["x_column"]) == ("raw", "d", "y1")
        assert record["attributes"] == {"a": {"b": 1}}

    def test_a_form_has_its_fields_as_parts(self, calls):
        parts = [("name", "formed"), ("description", "d"), ("attributes", '{"a": 1}')]
        record = calls.post("/v1/datasets", **a_file(CSV, "a.csv", *parts, ("x_column", "y2"))).json
        assert (record["name"], record["description"], record["x_column"]) == ("formed", "d", "y2")
        assert record["attributes"] == {"a": 1}

    @pytest.mark.parametrize(
        ("file", "expected"),
        [
            ("train.csv", "train"),
            ("train.2026.csv", "train.2026"),
            ("TRAIN.TXT", "TRAIN"),
            ("C:\\\\data\\\\train.csv", "train"),
            ("/data/train.tsv", "train"),
            ("Größe 温度.csv", "Größe 温度"),
            ("train", "train"),
            (" my train .csv", "my train"),
            ("a" * 300 + ".csv", "a" * 200),
        ],
    )
    def test_the_name_defaults_to_the_stem_of_the_file(self, calls, file, expected):
        text = TSV if file.endswith("tsv") else CSV
        reply = calls.post("/v1/datasets", **a_file(text, file))
        assert reply.json["name"] == expected

    def test_a_file_without_a_name_is_called_something(self, calls):
        assert calls.a_csv(CSV).json["name"]
        for name in ("", "  .csv", "\0.csv"):
            assert calls.post("/v1/datasets", **a_file(CSV, name)).json["name"].strip()

    @pytest.mark.parametrize("how", ["query", "form"])
    def test_a_file_without_header_has_columns_x_y1_y2(self, calls, how):
        headless = CSV.partition("\n")[2]
        if how == "query":
            reply = calls.a_csv(headless, {"header": "absent"})
        else:
            reply = calls.post("/v1/datasets", **a_file(headless, "a.csv", ("header", "absent")))
        assert calls.values(reply.json["id"]) == CURVES
        assert reply.json["source"]["header"] == "absent"

    def test_a_file_without_header_is_refused_unless_that_is_said(self, calls):
        check_fact(calls.a_csv(CSV.partition("\n")[2]), 422, code="no_header", line=1)

    @pytest.mark.parametrize(
        "gap", ["", " ", "NaN", "nan", "NA", "na", "null", "NULL", "None", '""']
    )
    def test_a_gap_in_a_file_is_null(self, calls, gap):
        record = calls.a_csv(f"x,y\n1,{gap}\n2,3\n").json
        assert calls.values(record["id"]) == {"x": [1.0, 2.0], "y": [None, 3.0]}
        assert record["n_gaps"] == 1

    def test_numbers_of_files_are_read_as_people_write_them(self, calls):
        record = calls.a_csv("x,y\n+1,1.\n .5 ,-.5e-1\n1E3,00.10\n").json
        assert calls.values(record["id"]) == {"x": [1.0, 0.5, 1000.0], "y": [1.0, -0.05, 0.1]}

    @pytest.mark.parametrize("kind", ["form", "json"])
    def test_the_query_describes_a_raw_file_only(self, calls, kind):
        body = a_file() if kind == "form" else {"json_body": {"name": "a", "columns": CURVES}}
        reply = calls.post("/v1/datasets", params={"name": "b"}, **body)
        check_fact(reply, 422, parameter="name")


BAD_FILES = {
    "text": ("x,y\n1,2\n3,abc\n", {"row": 1, "line": 3, "column": "y"}),
    "an underscore": ("x,y\n1_000,2\n", {"row": 0, "line": 2, "column": "x"}),
    "a percentage": ("x,y\n1,12%\n", {"row": 0, "column": "y"}),
    "infinity": ("x,y\n1,2\n\n\n3,-inf\n", {"row": 1, "line": 5, "code": "not_finite"}),
    "Infinity": ("x,y\n1,Infinity\n", {"row": 0, "column": "y", "code": "not_finite"}),
    "overflow": ("x,y\n1,1e999\n", {"row": 0, "column": "y", "code": "not_finite"}),
    "hexadecimal": ("x,y\n1,0x10\n", {"row": 0, "column": "y"}),
    "a boolean": ("x,y\n1,TRUE\n", {"row": 0, "column": "y"}),
    "too few cells": ("x,y\n1,2\n3\n", {"row": 1, "line": 3}),
    "too many cells": ("x,y\n1,2,3\n", {"row": 0, "line": 2}),
    "a duplicate name": ("x,y,y\n1,2,3\n", {"column": "y", "code": "duplicate_name"}),
    "one by its spaces": ("x,y, y \n1,2,3\n", {"column": "y", "code": "duplicate_name"}),
    "an empty name": ("x,,y\n1,2,3\n", {"code": "empty_name", "line": 1}),
    "a name of spaces": ("x,  ,y\n1,2,3\n", {"code": "empty_name"}),
    "no rows": ("x,y\n", {"code": "no_rows"}),
    "nothing": ("", {"code": "no_rows"}),
    "one column": ("x\n1\n", {"code": "one_column"}),
    "two decimal marks": ("x;y\n1,5;2.5\n", {"row": 0, "column": "y"}),
    "an open quote": ('x,y\n1,"2\n', {"line": 2}),
}


class TestRefusedFiles:
    """What is wrong, with row, line and column."""

    @pytest.mark.parametrize(("text", "expected"), BAD_FILES.values(), ids=BAD_FILES)
    def test_a_bad_file_is_422_and_says_where(self, calls, text, expected):
        check_fact(calls.a_csv(text), 422, **expected)
        check_fact(calls.post("/v1/datasets", **a_file(text)), 422, **expected)

    @pytest.mark.parametrize(
        "data",
        [
            "x,y\n1,é\n".encode("latin-1"),
            b"x,y\n1,\x00\n",
            b"\xff\xfex\x00,\x00y\x00\n\x00\x00\xd8",
        ],
        ids=["Latin-1", "NUL", "half a surrogate"],
    )
    def test_bytes_that_are_no_text_are_400(self, calls, data):
        check_fact(calls.a_csv(data), 400)
        check_fact(calls.post("/v1/datasets", **a_form(("file", data, "a.csv"))), 400)

    def test_several_errors_are_all_named(self, calls):
        errors = check_problem(calls.a_csv("x,y\na,1\n2,b\nc,3%\n"), 422)["errors"]
        assert [(fact["row"], fact["column"]) for fact in errors] == [
            (0, "x"),
            (1, "y"),
            (2, "x"),
            (2, "y"),
        ]

    def test_an_unknown_x_column_is_named(self, calls):
        reply = calls.a_csv(CSV, {"x_column": "time"})
        check_fact(reply, 422, parameter="x_column")
        body = {"name": "a", "columns": CURVES, "x_column": "time"}
        check_fact(calls.post("/v1/datasets", body), 422, pointer="/x_column")

    @pytest.mark.parametrize(
        ("params", "name"),
        [
            ({"header": "maybe"}, "header"),
            ({"attributes": "{"}, "attributes"),
            ({"attributes": "[]"}, "attributes"),
            ({"attributes": '{"a": "\\u0000"}'}, "attributes"),
            ({"attributes": '{"a": NaN}'}, "attributes"),
            ({"name": "a" * 201}, "name"),
            ({"name": " "}, "name"),
            ({"description": "a\0"}, "description"),
            ({"colour": "red"}, "colour"),
            ({"name": ["a", "b"]}, "name"),
        ],
    )
    def test_a_bad_field_is_422_and_named_in_query_and_form(self, calls, params, name):
        check_fact(calls.a_csv(CSV, params), 422, parameter=name)
        values = [(key, v) for key, vs in params.items() for v in ([vs] * (vs is str(vs)) or vs)]
        check_fact(calls.post("/v1/datasets", **a_file(CSV, "a.csv", *values)), 422, parameter=name)

    def test_a_form_without_its_file_is_422(self, calls):
        check_fact(calls.post("/v1/datasets", **a_form(("name", "a"))), 422, parameter="file")
        check_fact(calls.post("/v1/datasets", **a_form(("file", CSV))), 422, parameter="file")

    @pytest.mark.parametrize("name", ["a.csv.gz", "a.txt.zst"])
    def test_a_file_of_another_kind_is_415(self, calls, name):
        assert (
            ".csv" in check_problem(calls.post("/v1/datasets", **a_file(CSV, name)), 415)["detail"]
        )

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"", "multipart/form-data; boundary=b"),
            (b"junk", "multipart/form-data; boundary=b"),
            (b"--b\r\n\r\n", "multipart/form-data"),
            (
                b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx',
                "multipart/form-data; boundary=b",
            ),
        ],
        ids=["empty", "junk", "no boundary", "cut off"],
    )
    def test_a_form_that_cannot_be_read_is_400(self, calls, body, kind):
        check_problem(calls.post("/v1/datasets", data=body, headers={"Content-Type": kind}), 400)


OTHER_SHAPES = {
    "records": b'[{"x": 1, "y": 2}, {"x": 2, "y": 3}]',
    "rows": b"[[1, 2], [2, 3]]",
    "a text a line": b'{"x": 1, "y": 2}\n{"x": 2, "y": 3}\n',
    "columns alone": b'{"x": [1, 2], "y": [2, 3]}',
    "columns inside data": b'{"data": {"x": [1, 2], "y": [2, 3]}}',
    "pandas, split": b'{"columns": ["x", "y"], "index": [0], "data": [[1, 2]]}',
    "pandas, index": b'{"0": {"x": 1, "y": 2}}',
    "plotly": b'{"data": [{"x": [1, 2], "y": [2, 3], "type": "scatter"}], "layout": {}}',
}


@pytest.mark.parametrize("body", OTHER_SHAPES.values(), ids=OTHER_SHAPES)
def test_json_of_another_shape_is_told_the_one_that_is_taken(calls, body):
    reply = calls.post("/v1/datasets", data=body, headers={"Content-Type": "application/json"})
    problem = check_problem(reply, 422)
    assert problem["detail"].startswith(
        'Send the curves as {"name": "a name", "columns": {"x": [0, 1], "y1": [2.5, null]}}: '
    )
    assert problem["errors"][0]["code"] == "other_shape"
    reply = calls.post("/v1/datasets", **a_form(("file", body, "a.json")))
    detail = check_problem(reply, 422)["detail"]
    assert detail.startswith('Send the curves as {"columns": {"x": [0, 1], "y1": [2.5, null]}}: ')


def test_json_that_is_cut_off_stays_malformed(calls):
    body = b'{"name": "a",\n"columns": {"x": [1'
    reply = calls.post("/v1/datasets", data=body, headers={"Content-Type": "application/json"})
    check_problem(reply, 400)


BAD_BODIES = {
    "no name": ({"columns": CURVES}, {"pointer": "/name", "code": "required"}),
    "a null name": ({"name": None, "columns": CURVES}, {"pointer": "/name"}),
    "an empty name": ({"name": " ", "columns": CURVES}, {"pointer": "/name"}),
    "a number as name": ({"name": 7, "columns": CURVES}, {"pointer": "/name"}),
    "a long name": ({"name": "a" * 201, "columns": CURVES}, {"pointer": "/name"}),
    "NUL in the name": ({"name": "a\0", "columns": CURVES}, {"pointer": "/name"}),
    "NUL in the description": (
        {"name": "a", "columns": CURVES, "description": "\0"},
        {"pointer": "/description"},
    ),
    "NUL in the attributes": (
        {"name": "a", "columns": CURVES, "attributes": {"a": ["\\\0"]}},
        {"pointer": "/attributes"},
    ),
    "attributes that are a list": (
        {"name": "a", "columns": CURVES, "attributes": []},
        {"pointer": "/attributes"},
    ),
    "attributes too long": (
        {"name": "a", "columns": CURVES, "attributes": {"a": "a" * 70_000}},
        {"pointer": "/attributes"},
    ),
    "no columns": ({"name": "a"}, {"pointer": "/columns", "code": "other_shape"}),
    "columns that are a list": ({"name": "a", "columns": [[1], [2]]}, {"pointer": "/columns"}),
    "none": ({"name": "a", "columns": {}}, {"pointer": "/columns"}),
    "one column": ({"name": "a", "columns": {"x": [1]}}, {"code": "one_column"}),
    "no rows": ({"name": "a", "columns": {"x": [], "y": []}}, {"code": "no_rows"}),
    "text": (
        {"name": "a", "columns": {"x": [1, 2], "y": [1, "2"]}},
        {"pointer": "/columns/y/1", "row": 1, "column": "y"},
    ),
    "a boolean": (
        {"name": "a", "columns": {"x": [1], "y": [True]}},
        {"pointer": "/columns/y/0", "row": 0, "column": "y"},
    ),
    "a list in a list": (
        {"name": "a", "columns": {"x": [1], "y": [[1]]}},
        {"pointer": "/columns/y/0"},
    ),
    "a column that is a number": (
        {"name": "a", "columns": {"x": [1], "y": 1}},
        {"pointer": "/columns/y"},
    ),
    "a pointer that needs escapes": (
        {"name": "a", "columns": {"x": [1], "a/b~c": ["z"]}},
        {"pointer": "/columns/a~1b~0c/0", "column": "a/b~c"},
    ),
    "ragged columns": (
        {"name": "a", "columns": {"x": [1, 2], "y": [1]}},
        {"column": "y", "row": 1},
    ),
    "equal names": (
        {"name": "a", "columns": {"x": [1], "y": [1], " y": [2]}},
        {"column": "y", "code": "duplicate_name"},
    ),
    "an empty column name": (
        {"name": "a", "columns": {"x": [1], "": [1]}},
        {"code": "empty_name"},
    ),
    "a control character in one": (
        {"name": "a", "columns": {"x": [1], "a\nb": [1]}},
        {"code": "bad_name"},
    ),
    "NUL in one": ({"name": "a", "columns": {"x": [1], "a\0b": [1]}}, {"code": "bad_name"}),
}


class TestRefusedJson:
    """What is wrong, with pointer, row and column."""

    @pytest.mark.parametrize(("body", "expected"), BAD_BODIES.values(), ids=BAD_BODIES)
    def test_a_bad_body_is_422_and_says_where(self, calls, body, expected):
        check_fact(calls.post("/v1/datasets", body), 422, **expected)

    def test_nothing_is_stored(self, calls):
        before = calls.get("/v1/datasets").json
        calls.post("/v1/datasets", {"name": "a", "columns": {"x": [1], "y": ["1"]}})
        calls.a_csv("x,y\n1,2\n3,a\n")
        assert calls.get("/v1/datasets").json == before


class TestPatch:
    """A merge patch of name, description and attributes."""

    def test_it_merges_as_rfc_7396_says(self, calls):
        attributes = {"a": {"b": 1, "c": 2}, "d": [1, 2], "e": "text"}
        path = f"/v1/datasets/{calls.a_dataset(description='d', attributes=attributes)['id']}"
        patch = {"a": {"b": None, "f": {"g": None, "h": 3}}, "d": [3], "e": {"i": 1}}
        record = calls.patch(path, {"attributes": patch}, etag="*").json
        expected = {"a": {"c": 2, "f": {"h": 3}}, "d": [3], "e": {"i": 1}}
        assert (record["attributes"], record["description"]) == (expected, "d")
        assert record["version"] == 2
        assert record["updated_at"] >= record["created_at"]

    @pytest.mark.parametrize("kind", ["application/json", "application/merge-patch+json"])
    def test_null_empties_description_and_attributes(self, calls, kind):
        path = f"/v1/datasets/{calls.a_dataset(description='d', attributes={'a': 1})['id']}"
        patch = {"description": None, "attributes": None}
        record = calls.patch(path, patch, etag="*", headers={"Content-Type": kind}).json
        assert (record["description"], record["attributes"]) == ("", {})
        assert calls.get(path).json == record

    @pytest.mark.parametrize(
        ("patch", "pointer"),
        [
            ({"name": None}, "/name"),
            ({"name": ""}, "/name"),
            ({"name": "\0"}, "/name"),
            ({"description": 7}, "/description"),
            ({"attributes": [1]}, "/attributes"),
            ({"attributes": {"a": "\0"}}, "/attributes"),
            ({"columns": CURVES}, "/columns"),
        ],
    )
    def test_what_does_not_fit_is_422(self, calls, some, patch, pointer):
        reply = calls.patch(some.address["datasets"], patch, etag="*")
        check_fact(reply, 422, pointer=pointer)

    def test_attributes_that_grow_too_large_by_merging_are_422(self, calls):
        path = f"/v1/datasets/{calls.a_dataset(attributes={'a': 'a' * 40_000})['id']}"
        reply = calls.patch(path, {"attributes": {"b": "b" * 40_000}}, etag="*")
        check_fact(reply, 422, pointer="/attributes")

    def test_another_content_type_is_415_and_says_which(self, calls, some):
        headers = {"Content-Type": "text/csv"}
        reply = calls.patch(some.address["datasets"], data=b"{}", etag="*", headers=headers)
        assert "merge-patch+json" in check_problem(reply, 415)["detail"]

    def test_values_never_change(self, calls):
        record = calls.a_dataset()
        path = f"/v1/datasets/{record['id']}"
        changed = calls.patch(path, {"name": "other"}, etag="*").json
        assert changed["sha256"] == record["sha256"]
        assert calls.values(record["id"]) == CURVES


class TestDelete:
    """204, and 409 naming what uses it."""

    def test_a_used_dataset_is_kept_and_its_users_are_named(self, calls):
        training, ideal, test = (calls.a_dataset(c) for c in (CURVES, CURVES, POINTS))
        fit = calls.a_fit(training["id"], ideal["id"])
        mapping = calls.a_mapping(fit["id"], test["id"])
        for dataset, user in ((training, fit), (ideal, fit), (test, mapping)):
            reply = calls.delete(f"/v1/datasets/{dataset['id']}")
            assert user["id"] in check_problem(reply, 409)["detail"]
            assert calls.get(f"/v1/datasets/{dataset['id']}").status == 200
        assert fit["id"] not in calls.delete(f"/v1/datasets/{test['id']}").text
        check_problem(calls.delete(f"/v1/fits/{fit['id']}"), 409)

    def test_without_its_users_it_goes_with_all_it_holds(self, calls):
        dataset = calls.a_dataset()
        fit = calls.a_fit(dataset["id"])
        assert calls.delete(f"/v1/fits/{fit['id']}").status == 204
        assert calls.delete(f"/v1/datasets/{dataset['id']}").status == 204
        for rest in ("", "/curves", "/values", "/plot"):
            check_problem(calls.get(f"/v1/datasets/{dataset['id']}{rest}"), 404)


MORE = {
    "json": lambda: {"json_body": {"columns": {"x": [0, 1, 2], "y3": [7, None, 9]}}},
    "csv": lambda: {
        "data": b"x,y3\n0,7\n1,\n2,9\n",
        "headers": {"Content-Type": "text/csv"},
    },
    "tsv": lambda: {
        "data": b"x\ty3\n0\t7\n1\t\n2\t9\n",
        "headers": {"Content-Type": TSV_TYPE},
    },
    "form": lambda: a_form(("file", "x,y3\n0,7\n1,\n2,9\n", "more.csv")),
}


class TestCurves:
    """The list of curves, and appending."""

    def test_the_list_says_what_each_curve_is(self, calls):
        record = calls.a_dataset({"x": [1.0, 2.0, 3.0], "a": [4.0, None, -2.0], "b": [None] * 3})
        a, b = calls.get(f"/v1/datasets/{record['id']}/curves").json["items"]
        expected = {
            "index": 0,
            "name": "a",
            "n_gaps": 1,
            "y_min": -2.0,
            "y_max": 4.0,
            "y_mean": 1.0,
        }
        assert a | expected == a
        assert b | {"index": 1, "name": "b", "n_gaps": 3} == b

    def test_a_mean_is_a_number_though_its_sum_overflows(self, calls):
        record = calls.a_dataset({"x": [1.0, 2.0], "a": [1.7e308, 1.7e308]})
        (curve,) = calls.get(f"/v1/datasets/{record['id']}/curves").json["items"]
        assert (curve["y_max"], curve["y_mean"]) == (1.7e308, 1.7e308)

    @pytest.mark.parametrize("kind", ["json", "csv", "tsv", "form"])
    def test_curves_are_appended_behind_those_there_are(self, calls, kind):
        record = calls.a_dataset()
        reply = calls.post(f"/v1/datasets/{record['id']}/curves", **MORE[kind]())
        assert reply.status == 200
        after = reply.json
        assert (after["n_curves"], after["n_gaps"], after["version"]) == (3, 1, 2)
        assert reply.etag == calls.get(f"/v1/datasets/{record['id']}").etag
        assert calls.values(record["id"]) == CURVES | {"y3": [7.0, None, 9.0]}
        whole = calls.a_dataset(CURVES | {"y3": [7.0, None, 9.0]})
        assert after["sha256"] == whole["sha256"] != record["sha256"]

    def test_the_first_curves_are_always_the_same(self, calls):
        record = calls.a_dataset()
        path = f"/v1/datasets/{record['id']}/curves"
        before = calls.get(path).json["items"]
        for name in ("z", "a", "Y1"):
            columns = {"x": [0, 1, 2], name: [1, 2, 3]}
            assert calls.post(path, {"columns": columns}).status == 200
        assert calls.get(path).json["items"][:2] == before
        assert [c["name"] for c in calls.get(path).json["items"][2:]] == ["z", "a", "Y1"]

    @pytest.mark.parametrize(
        ("columns", "expected"),
        [
            ({"x": [0, 1, 2], "y1": [1, 2, 3]}, {"column": "y1", "code": "duplicate_name"}),
            ({"x": [0, 1, 2], "y9": [1, 2, 3], "y2": [1, 2, 3]}, {"column": "y2"}),
            ({"x": [0, 1, 3], "y9": [1, 2, 3]}, {"row": 2, "column": "x"}),
            ({"x": [0, 2, 1], "y9": [1, 2, 3]}, {"row": 1, "column": "x"}),
            ({"x": [0, 1, None], "y9": [1, 2, 3]}, {"row": 2, "column": "x"}),
            ({"x": [0, 1], "y9": [1, 2]}, {}),
            ({"x": [0, 1, 2]}, {"code": "one_column"}),
        ],
    )
    def test_all_are_appended_or_none(self, calls, columns, expected):
        record = calls.a_dataset()
        path = f"/v1/datasets/{record['id']}"
        check_fact(calls.post(f"{path}/curves", {"columns": columns}), 422, **expected)
        assert calls.get(path).json == record
        assert calls.values(record["id"]) == CURVES

    def test_the_x_column_may_have_another_place_or_name(self, calls):
        record = calls.a_dataset()
        path = f"/v1/datasets/{record['id']}/curves"
        body = {"columns": {"y3": [7, 8, 9], "t": [0, 1, 2]}, "x_column": "t"}
        assert calls.post(path, body).status == 200
        assert calls.values(record["id"], "y3") == {"y3": [7.0, 8.0, 9.0]}

    def test_if_match_is_honoured(self, calls):
        record = calls.a_dataset()
        path = f"/v1/datasets/{record['id']}/curves"
        body = {"columns": {"x": [0, 1, 2], "y3": [7, 8, 9]}}
        check_problem(calls.post(path, body, headers={"If-Match": '"7"'}), 412)
        assert calls.post(path, body, headers={"If-Match": '"1"'}).status == 200


class TestValues:
    """Values as named, from start, count of them."""

    def test_columns_come_as_named(self, calls, some):
        assert list(calls.values(some.dataset["id"], "y2", "x").items()) == [
            ("y2", CURVES["y2"]),
            ("x", CURVES["x"]),
        ]

    @pytest.mark.parametrize(
        ("params", "expected"),
        [
            ({}, [0.0, 1.0, 2.0]),
            ({"start": 1}, [1.0, 2.0]),
            ({"start": 1, "count": 1}, [1.0]),
            ({"count": 2}, [0.0, 1.0]),
            ({"start": 3}, []),
            ({"start": 2**53}, []),
            ({"count": 2**53}, [0.0, 1.0, 2.0]),
        ],
    )
    @pytest.mark.parametrize("accept", ["application/json", "text/csv"])
    def test_rows_come_from_start(self, calls, some, params, expected, accept):
        path = f"{some.address['datasets']}/values"
        reply = calls.get(path, params={"columns": "x", **params}, headers={"Accept": accept})
        if accept == "text/csv":
            assert reply.text == "\n".join(["x", *map(str, expected), ""])
        else:
            assert reply.json == {"columns": {"x": expected}}

    def test_json_stops_at_1000_rows_and_csv_does_not(self, calls):
        columns = {"x": [float(i) for i in range(1500)], "y": [0.5] * 1500}
        path = f"/v1/datasets/{calls.a_dataset(columns)['id']}/values"
        assert calls.get(path).json["columns"]["x"] == columns["x"][:1000]
        assert calls.get(path, params={"count": 1500}).json["columns"] == columns
        lines = calls.get(path, headers={"Accept": "text/csv"}).text.splitlines()
        assert lines == ["x,y", *(f"{float(i)},0.5" for i in range(1500))]

    def test_csv_can_be_posted_again(self, calls):
        columns = {
            "x": some_doubles(300),
            'a, "b"': [None, *some_doubles(299, 2)],
            "ä;": [1.0, None] * 150,
        }
        record = calls.a_dataset(columns)
        reply = calls.get(f"/v1/datasets/{record['id']}/values", headers={"Accept": "text/csv"})
        assert reply.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert calls.a_csv(reply.body).json["sha256"] == record["sha256"]

    def test_ten_thousand_doubles_keep_their_bits(self, calls):
        """Over a socket, in JSON and in CSV; tests/api repeats it on PostgreSQL."""
        numbers = some_doubles(10_000)
        record = calls.a_dataset({"x": [float(i) for i in range(10_000)], "y": numbers})
        assert same_bits(calls.values(record["id"], "y")["y"], numbers)
        text = calls.get(
            f"/v1/datasets/{record['id']}/values?columns=y", headers={"Accept": "text/csv"}
        ).text
        assert same_bits([float(line) for line in text.splitlines()[1:]], numbers)

    def test_a_plot_is_a_page_that_works_offline_or_json(self, calls, some):
        path = f"{some.address['datasets']}/plot"
        page = calls.get(path)
        assert page.type == "text/html"
        assert "<script src=" not in page.text
        assert {"target_id", "root_id", "doc"} <= set(
            calls.get(path, headers={"Accept": "application/json"}).json
        )
