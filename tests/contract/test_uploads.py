"""Uploads of every format, as a body and in a form, compressed or not."""

from __future__ import annotations

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pytest

from tests.calls import a_form, check_fact, check_problem
from tests.files import (
    ARROW,
    ARROW_FILE,
    CSV,
    FORMATS,
    PACK,
    PARQUET,
    XLSX,
    a_parquet,
    a_sheet,
    a_text,
    a_workbook,
    an_arrow,
)

COLUMNS = {"t": [3.0, 1.0, 2.0], "X": [0.5, 1e-300, None], "y 2": [-0.0, 0.1, None]}
PATH = "/v1/datasets"
JSON, TSV = "application/json", "text/tab-separated-values"


def post(calls, data, kind, coding=None, *, params=None, path=PATH):
    headers = {"Content-Type": kind} | ({"Content-Encoding": coding} if coding else {})
    return calls.post(path, data=data, headers=headers, params=params)


@pytest.fixture(scope="module")
def sha256(calls):
    return calls.a_dataset(COLUMNS)["sha256"]


class TestFormats:
    """The same columns are the same dataset, however they come."""

    @pytest.mark.parametrize("coding", [None, "gzip", "zstd"])
    @pytest.mark.parametrize("ending", FORMATS)
    def test_a_body_in_every_format_and_coding(self, calls, sha256, ending, coding):
        kind, make = FORMATS[ending]
        data = PACK[coding](make(COLUMNS)) if coding else make(COLUMNS)
        reply = post(calls, data, kind, coding)
        assert reply.status == 201, reply.text
        assert reply.json["sha256"] == sha256
        source = reply.json["source"]
        assert source["format"] == {"feather": "arrow"}.get(ending, ending)
        assert source["compression"] == coding
        assert source["sheet"] == ("Sheet1" if ending == "xlsx" else None)
        assert (source["header"] is None) == (ending in ("parquet", "arrow", "feather"))

    @pytest.mark.parametrize("ending", FORMATS)
    def test_a_form_in_every_format(self, calls, sha256, ending):
        kind, make = FORMATS[ending]
        file = ("file", make(COLUMNS), f"my curves.{ending}", kind)
        reply = calls.post(PATH, **a_form(file, ("description", "d")))
        assert reply.status == 201, reply.text
        assert (reply.json["sha256"], reply.json["name"]) == (sha256, "my curves")

    @pytest.mark.parametrize("ending", ["csv", "parquet"])
    @pytest.mark.parametrize("coding", PACK)
    def test_a_form_may_be_packed_as_a_whole(self, calls, sha256, ending, coding):
        form = a_form(("file", FORMATS[ending][1](COLUMNS), f"a.{ending}"))
        headers = form["headers"] | {"Content-Encoding": coding}
        reply = calls.post(PATH, data=PACK[coding](form["data"]), headers=headers)
        assert (reply.json["sha256"], reply.json["source"]["compression"]) == (sha256, coding)

    @pytest.mark.parametrize("ending", ["csv", "parquet"])
    @pytest.mark.parametrize(("suffix", "coding"), [(".gz", "gzip"), (".ZST", "zstd")])
    def test_a_file_of_a_form_may_be_packed(self, calls, sha256, ending, suffix, coding):
        data = PACK[coding](FORMATS[ending][1](COLUMNS))
        file = ("file", data, f"a.{ending}{suffix}", "application/gzip")
        reply = calls.post(PATH, **a_form(file))
        assert (reply.json["sha256"], reply.json["name"]) == (sha256, "a")
        assert reply.json["source"]["compression"] == coding

    @pytest.mark.parametrize("name", ["blob", "upload.bin", "x.unknown"])
    def test_a_file_without_a_known_name_is_known_by_its_content(self, calls, sha256, name):
        for make in (a_parquet, an_arrow, a_sheet):
            file = ("file", make(COLUMNS), name, "application/octet-stream")
            assert calls.post(PATH, **a_form(file)).json["sha256"] == sha256

    def test_a_part_may_say_its_type_instead_of_a_name(self, calls, sha256):
        for kind, make in FORMATS.values():
            reply = calls.post(PATH, **a_form(("file", make(COLUMNS), "x.asc", kind)))
            assert reply.json["sha256"] == sha256

    def test_an_office_type_beside_a_csv_name_does_not_count(self, calls, sha256):
        """Windows calls a CSV file so."""
        file = ("file", a_text(COLUMNS), "a.csv", "application/vnd.ms-excel")
        assert calls.post(PATH, **a_form(file)).json["sha256"] == sha256


BODY = {"name": "inner", "columns": COLUMNS, "attributes": {"a": 1}, "x_column": "t"}


class TestJson:
    """JSON in a form, as a file."""

    @pytest.mark.parametrize(
        ("name", "kind"),
        [("my.json", ""), ("my.json", JSON), ("my", JSON), ("my", ""), ("b.x", JSON)],
    )
    def test_a_file_of_json(self, calls, name, kind):
        reply = calls.post(PATH, **a_form(("file", orjson.dumps(BODY), name, kind)))
        assert reply.status == 201, reply.text
        alone = calls.made(PATH, BODY)
        for field in ("sha256", "name", "attributes", "source"):
            assert reply.json[field] == alone[field]

    def test_its_name_may_be_that_of_the_file_and_fields_of_the_form_count_more(self, calls):
        data = orjson.dumps({"columns": COLUMNS, "description": "inner"})
        assert calls.post(PATH, **a_form(("file", data, "my.json"))).json["name"] == "my"
        packed = ("file", PACK["gzip"](data), "my.json.gz")
        reply = calls.post(PATH, **a_form(packed, ("description", "outer"), ("x_column", "X"))).json
        assert (reply["description"], reply["x_column"]) == ("outer", "X")
        assert reply["source"]["compression"] == "gzip"

    def test_curves_are_appended_by_it(self, calls):
        record = calls.a_dataset({"x": [0.0], "f0": [0.0]})
        data = orjson.dumps({"columns": {"x": [0.0], "f1": [1.0]}})
        form = a_form(("file", data, "more.json"))
        assert calls.post(f"{PATH}/{record['id']}/curves", **form).json["n_curves"] == 2

    @pytest.mark.parametrize(
        ("data", "fields", "expected"),
        [
            (b'{"columns": {"x": [1], "y": ["a"]}}', [], {"pointer": "/columns/y/0"}),
            (b'{"columns": {"x": [1], "y": [1]}, "colums": 1}', [], {"pointer": "/colums"}),
            (b"[[1]]", [], {}),
            (b'{"columns": {"x": [1], "y": [1]}}', [("header", "absent")], {"parameter": "header"}),
            (b'{"columns": {"x": [1], "y": [1]}}', [("sheet", "a")], {"parameter": "sheet"}),
        ],
    )
    def test_what_is_wrong_in_it_is_422(self, calls, data, fields, expected):
        check_fact(calls.post(PATH, **a_form(("file", data, "a.json"), *fields)), 422, **expected)

    def test_what_is_none_is_400_and_what_is_too_long_413(self, calls, limited):
        check_problem(calls.post(PATH, **a_form(("file", b'{"a": NaN}', "a.json"))), 400)
        few = limited(json_body_bytes=200)
        data = orjson.dumps(BODY) + b" " * 200
        check_problem(few.post(PATH, **a_form(("file", data, "a.json"))), 413)


class TestBrowserForms:
    def test_fields_left_empty_are_not_there(self, calls, sha256):
        empty = ("name", "description", "attributes", "x_column", "header", "sheet")
        form = a_form(("file", a_text(COLUMNS), "a.csv"), *((name, "") for name in empty))
        reply = calls.post(PATH, **form)
        assert reply.status == 201, reply.text
        assert (reply.json["sha256"], reply.json["name"]) == (sha256, "a")

    @pytest.mark.parametrize("field", ["name", "attributes"])
    def test_a_field_that_is_no_utf_8_is_400(self, calls, field):
        form = a_form(("file", a_text(COLUMNS), "a.csv"), (field, "@@"))
        data = form["data"].replace(b"@@", b'{"a":"caf\xe9"}')
        check_fact(calls.post(PATH, **form | {"data": data}), 400, parameter=field)


class TestContradictions:
    """What is said and what is found must agree; the 415 says both."""

    @pytest.mark.parametrize(
        ("data", "kind", "said", "found"),
        [
            (a_parquet(COLUMNS), CSV, CSV, "Parquet"),
            (a_text(COLUMNS), PARQUET, PARQUET, "text"),
            (an_arrow(COLUMNS), ARROW_FILE, ARROW_FILE, "Arrow stream"),
            (an_arrow(COLUMNS, file=True), ARROW, ARROW, "Arrow file"),
            (a_sheet(COLUMNS), CSV, CSV, "ZIP"),
            (a_parquet(COLUMNS), XLSX, XLSX, "Parquet"),
            (PACK["gzip"](a_text(COLUMNS)), CSV, CSV, "gzip"),
            (PACK["zstd"](a_text(COLUMNS)), CSV, CSV, "zstd"),
            (b"\xd0\xcf\x11\xe0" + b"\0" * 512, XLSX, XLSX, "Office"),
            (b"SQLite format 3\0", CSV, CSV, "SQLite"),
            (b' {"name": "a", "columns": {}}', CSV, CSV, "JSON"),
            (b"[[1, 2], [3, 4]]", TSV, TSV, "JSON"),
            (a_parquet(COLUMNS), JSON, JSON, "Parquet"),
            (a_sheet(COLUMNS), JSON, JSON, "ZIP"),
        ],
    )
    def test_of_a_body(self, calls, data, kind, said, found):
        detail = check_problem(post(calls, data, kind), 415)["detail"]
        assert said in detail
        assert found in detail

    @pytest.mark.parametrize(
        ("data", "name", "kind", "found"),
        [
            (a_text(COLUMNS), "a.csv.gz", "", "text"),
            (PACK["gzip"](a_text(COLUMNS)), "a.csv.zst", "", "gzip"),
            (PACK["gzip"](a_text(COLUMNS)), "a.csv", "", "gzip"),
            (b"%PDF-1.4\x00", "a.csv", CSV, "PDF"),
        ],
    )
    def test_of_a_file_in_a_form(self, calls, data, name, kind, found):
        detail = check_problem(calls.post(PATH, **a_form(("file", data, name, kind))), 415)[
            "detail"
        ]
        assert found in detail
        assert f"*.{name.rpartition('.')[2]}" in detail

    @pytest.mark.parametrize(
        ("data", "name", "kind", "format"),
        [
            (a_parquet(COLUMNS), "a.csv", "text/plain", "parquet"),
            (a_text(COLUMNS), "a.parquet", "", "csv"),
            (a_text(COLUMNS), "a.parquet", CSV, "csv"),
            (a_sheet(COLUMNS), "a.arrow", "", "xlsx"),
            (PACK["gzip"](a_text(COLUMNS)), "a.parquet.gz", "", "csv"),
            (an_arrow(COLUMNS), "a", ARROW_FILE, "arrow"),
            (a_text(COLUMNS), "a.docx", "", "csv"),
            (a_text(COLUMNS), "a.asc", "", "csv"),
            (a_text(COLUMNS), "spectrum", "application/vnd.ms-excel", "csv"),
        ],
    )
    def test_a_name_says_nothing_against_the_content(self, calls, data, name, kind, format):
        reply = calls.post(PATH, **a_form(("file", data, name, kind)))
        assert (reply.status, reply.json["source"]["format"]) == (201, format)

    @pytest.mark.parametrize("name", ["PAR1", "PARENT", "FEA1", "ARROW1", "BZh"])
    def test_a_column_may_be_called_as_a_mark(self, calls, name):
        reply = post(calls, f"{name},y\n1,2\n".encode(), CSV)
        assert (reply.status, reply.json["x_column"]) == (201, name)

    @pytest.mark.parametrize("kind", [PARQUET, ARROW, XLSX, CSV])
    def test_an_empty_body_is_422(self, calls, kind):
        check_fact(post(calls, b"", kind), 422, code="no_rows")

    @pytest.mark.parametrize(
        ("data", "kind", "params", "parameter"),
        [
            (a_parquet(COLUMNS), PARQUET, {"header": "absent"}, "header"),
            (an_arrow(COLUMNS), ARROW, {"sheet": "a"}, "sheet"),
            (a_text(COLUMNS), CSV, {"sheet": "a"}, "sheet"),
            (a_sheet(COLUMNS), XLSX, {"sheet": "a"}, "sheet"),
            (a_parquet(COLUMNS), PARQUET, {"x_column": "time"}, "x_column"),
            (a_sheet(COLUMNS), XLSX, {"x_column": "time"}, "x_column"),
        ],
    )
    def test_an_option_in_vain_is_422(self, calls, data, kind, params, parameter):
        check_fact(post(calls, data, kind, params=params), 422, parameter=parameter)


class TestSheets:
    def test_a_sheet_is_chosen_in_query_and_form(self, calls):
        data = a_workbook(("A", [["x", "a"], [1, 2]]), ("B", [["x", "b"], [1, 2]]))
        assert post(calls, data, XLSX).json["source"]["sheet"] == "A"
        record = post(calls, data, XLSX, params={"sheet": "B"}).json
        assert list(calls.values(record["id"])) == ["x", "b"]
        record = calls.post(PATH, **a_form(("file", data, "a.xlsx"), ("sheet", "B"))).json
        assert list(calls.values(record["id"])) == ["x", "b"]
        fact = check_fact(post(calls, data, XLSX, params={"sheet": "C"}), 422, parameter="sheet")
        assert "'A', 'B'" in fact["detail"]

    def test_a_bad_cell_is_named_by_its_row_and_column(self, calls):
        data = a_workbook(("A", [["x", "y"], [1, 2], [2, "3"]]))
        fact = check_fact(post(calls, data, XLSX), 422, row=1, column="y", code="not_a_number")
        assert "B3" in fact["detail"]


class TestDataFrames:
    """What pandas writes is what it would write as CSV."""

    def test_to_csv_to_parquet_and_to_feather_are_one_dataset(self, calls, tmp_path):
        frame = pd.DataFrame(
            {"x": np.linspace(0, 1, 50), "y1": np.random.default_rng(1).random(50)}
        )
        frame.loc[7, "y1"] = np.nan
        frame.to_feather(tmp_path / "a.feather")
        frame.to_parquet(tmp_path / "a.parquet")
        frame.to_csv(tmp_path / "a.csv", index=False)
        found = set()
        for name in ("a.csv", "a.parquet", "a.feather"):
            file = ("file", (tmp_path / name).read_bytes(), name)
            found.add(calls.post(PATH, **a_form(file)).json["sha256"])
        assert len(found) == 1


CURVES = {"f1": [1.0, 2.0, 3.0], "f2": [None, 5.0, -0.0]}


def a_library(curves, kind=None):
    kind = pa.list_(pa.float64()) if kind is None else kind
    return pa.table({"name": list(curves), "y": pa.array(list(curves.values()), kind)})


class TestLibraries:
    """One curve a row."""

    @pytest.mark.parametrize(
        "kind",
        [pa.list_(pa.float64()), pa.list_(pa.float64(), 3), pa.large_list(pa.float32())],
        ids=str,
    )
    @pytest.mark.parametrize(("media", "make"), [(PARQUET, a_parquet), (ARROW, an_arrow)])
    def test_appended_to_a_dataset_it_needs_no_x(self, calls, media, make, kind):
        plain = calls.a_dataset({"x": [0.0, 1.0, 2.0], "f0": [0.0, 0.0, 0.0]})
        path = f"{PATH}/{plain['id']}/curves"
        reply = post(calls, make(a_library(CURVES, kind)), media, path=path)
        assert reply.status == 200, reply.text
        assert reply.json["n_curves"] == 3
        assert calls.values(plain["id"], *CURVES) == CURVES
        whole = calls.a_dataset({"x": [0.0, 1.0, 2.0], "f0": [0.0, 0.0, 0.0], **CURVES})
        assert reply.json["sha256"] == whole["sha256"]

    def test_with_a_row_of_x_it_is_a_dataset(self, calls):
        rows = {"f1": CURVES["f1"], "X": [0.0, 1.0, 2.0], "f2": CURVES["f2"]}
        record = post(calls, a_parquet(a_library(rows)), PARQUET).json
        assert record["x_column"] == "X"
        assert calls.values(record["id"]) == {"X": [0.0, 1.0, 2.0], **CURVES}
        assert record["sha256"] == calls.a_dataset(rows)["sha256"]
        fact = check_fact(post(calls, a_parquet(a_library(CURVES)), PARQUET), 422, code="no_x")
        assert "x" in fact["detail"]

    def test_only_a_row_called_as_the_x_of_the_dataset_is_x(self, calls):
        record = calls.a_dataset({"time": [0.0, 1.0], "f0": [0.0, 0.0]})
        path = f"{PATH}/{record['id']}/curves"
        rows = {"x": [5.0, 6.0], "X": [3.0, 4.0]}
        assert post(calls, an_arrow(a_library(rows)), ARROW, path=path).json["n_curves"] == 3
        assert calls.values(record["id"], "x", "X") == rows
        rows = {"f1": [5.0, 6.0], "time": [0.0, 1.0]}
        assert post(calls, an_arrow(a_library(rows)), ARROW, path=path).json["n_curves"] == 4

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            ({"f1": [1.0, 2.0]}, {"row": 0, "column": "f1", "code": "ragged_row"}),
            ({"f1": [1.0] * 3, "f2": [1.0] * 4}, {"row": 1, "code": "ragged_row"}),
            ({"f1": [1.0] * 3, "f2": None}, {"row": 1, "code": "missing"}),
            ({"f1": [1.0] * 3, None: [1.0] * 3}, {"row": 1, "code": "missing"}),
            ({"f1": [1.0] * 3, " f1": [1.0] * 3}, {"row": 1, "code": "duplicate_name"}),
            ({"f1": [1.0, np.inf, 2.0]}, {"row": 0, "column": "f1", "code": "not_finite"}),
            ({"": [1.0] * 3}, {"row": 0, "code": "empty_name"}),
            ({"f0": [1.0] * 3}, {"column": "f0", "code": "duplicate_name"}),
            ({"x": [0.0, 1.0, 9.0], "f": [1.0] * 3}, {"row": 2, "code": "other_x"}),
        ],
    )
    def test_a_bad_row_is_named_and_nothing_is_appended(self, calls, rows, expected):
        record = calls.a_dataset({"x": [0.0, 1.0, 2.0], "f0": [0.0, 0.0, 0.0]})
        path = f"{PATH}/{record['id']}"
        reply = post(calls, a_parquet(a_library(rows)), PARQUET, path=f"{path}/curves")
        check_fact(reply, 422, **expected)
        assert calls.get(path).json == record

    def test_it_may_hold_more_curves_than_a_table_has_columns(self, limited):
        calls = limited(columns=10, curves=50)
        record = calls.a_dataset({"x": [0.0], "f0": [0.0]})
        path = f"{PATH}/{record['id']}/curves"
        rows = {f"f{i}": [float(i)] for i in range(1, 51)}
        assert post(calls, an_arrow(a_library(rows)), ARROW, path=path).json["n_curves"] == 51
        more = {f"g{i}": [float(i)] for i in range(51)}
        reply = post(calls, an_arrow(a_library(more)), ARROW, path=path)
        check_fact(reply, 413, code="too_many_curves")


@pytest.mark.parametrize("option", ["x_column", "columns"])
def test_columns_are_not_chosen_where_each_row_is_a_curve(calls, option):
    reply = calls.a_csv("a,1,2\nb,3,4\nc,5,6\n", {"name": "n", "layout": "rows", option: "a"})
    fact = check_fact(reply, 422, code="invalid", parameter=option)
    assert fact["detail"].startswith(f"Leave out {option}:")
