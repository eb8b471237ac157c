"""Units and attributes of curves: stored, changed, searched and counted."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.files.stored_labels import MOST_BYTES
from services.labels import ATTRIBUTES_BYTES
from tests.calls import CURVES, POINTS, a_form, check_fact, check_problem, over_wsgi
from tests.files import ARROW, PARQUET, a_parquet, an_arrow

LABELS = {
    "x_unit": "cm-1",
    "y_units": {"y1": "V"},
    "curve_attributes": {"y1": {"CAS": "64-17-5", "n": 5}, "y2": {"CAS": "67-56-1"}},
}
UNITS = ["V", None]
ATTRIBUTES = [{"CAS": "64-17-5", "n": 5}, {"CAS": "67-56-1"}]
CSV = "x,y1,y2\n0,1,3\n1,2,2\n2,3,1.5\n"
AS_TEXT = {name: value if name == "x_unit" else json.dumps(value) for name, value in LABELS.items()}


BOTH = ["sqlite_app", pytest.param("postgres_app", marks=pytest.mark.postgres)]


@pytest.fixture(scope="module", params=BOTH)
def either(request):
    """Calls of the application on each database."""
    return over_wsgi(request.getfixturevalue(request.param))


@pytest.fixture
def labelled(either):
    return either.a_dataset(**LABELS)


def curves(calls, dataset_id, **params):
    reply = calls.get(f"/v1/datasets/{dataset_id}/curves", params=params)
    assert reply.status == 200, reply.text
    return reply.json["items"]


def labels(calls, dataset_id):
    """Units and attributes of all curves."""
    found = curves(calls, dataset_id)
    return [curve["unit"] for curve in found], [curve["attributes"] for curve in found]


class TestUpload:
    def test_json_gives_units_and_attributes(self, either, labelled):
        assert labelled["x_unit"] == "cm-1"
        assert labels(either, labelled["id"]) == (UNITS, ATTRIBUTES)

    def test_a_form_and_a_query_give_them_as_text(self, either):
        form = a_form(("file", CSV, "curves.csv"), *AS_TEXT.items())
        for reply in (either.post("/v1/datasets", **form), either.a_csv(CSV, AS_TEXT)):
            assert reply.json["x_unit"] == "cm-1"
            assert labels(either, reply.json["id"]) == (UNITS, ATTRIBUTES)

    def test_a_json_file_in_a_form_takes_them_too(self, either):
        body = json.dumps({"columns": CURVES, "y_units": {"y2": "A"}})
        form = a_form(("file", body, "curves.json"), ("y_units", '{"y1": "V"}'))
        assert labels(either, either.post("/v1/datasets", **form).json["id"])[0] == ["V", None]

    def test_plain_curves_have_none_and_no_row(self, either):
        record = either.a_dataset()
        assert record["x_unit"] is None
        assert labels(either, record["id"]) == ([None, None], [{}, {}])

    def test_they_are_part_of_no_fingerprint(self, either, labelled):
        assert either.a_dataset()["sha256"] == labelled["sha256"]

    def test_spaces_around_names_and_units_are_removed(self, either):
        record = either.a_dataset(x_unit=" nm ", y_units={" y1 ": " mV "})
        assert (record["x_unit"], labels(either, record["id"])[0]) == ("nm", ["mV", None])

    def test_appended_curves_have_their_own(self, either, labelled):
        body = {"columns": {"x": CURVES["x"], "z": [1, 2, 3]}, "y_units": {"z": "K"}}
        body |= {"x_unit": "nm", "curve_attributes": {"z": {"a": [1, None]}}}
        reply = either.post(f"/v1/datasets/{labelled['id']}/curves", body)
        assert labels(either, labelled["id"]) == ([*UNITS, "K"], [*ATTRIBUTES, {"a": [1, None]}])
        (warning,) = reply.json["warnings"]
        assert (reply.json["x_unit"], warning["code"]) == ("cm-1", "other_unit")

    def test_appended_curves_give_x_a_unit_where_it_has_none(self, either):
        path = f"/v1/datasets/{either.a_dataset()['id']}/curves"
        body = {"columns": {"x": CURVES["x"], "z": [1, 2, 3]}, "x_unit": "nm"}
        reply = either.post(path, body).json
        assert (reply["x_unit"], reply["warnings"]) == ("nm", [])

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"y_units": {"no": "V"}}, "/y_units/no"),
            ({"curve_attributes": {"x": {}}}, "/curve_attributes/x"),
            ({"curve_attributes": {"a/b": {}}}, "/curve_attributes/a~1b"),
            ({"curve_attributes": {"y1": []}}, "/curve_attributes/y1"),
            ({"curve_attributes": {"y1": None}}, "/curve_attributes/y1"),
            ({"curve_attributes": {"y1": {"a": "\0"}}}, "/curve_attributes/y1"),
            ({"curve_attributes": {"y1": {"a": "b" * ATTRIBUTES_BYTES}}}, "/curve_attributes/y1"),
            ({"y_units": {"y1": 5}}, "/y_units/y1"),
            ({"y_units": {"y1": "V" * 201}}, "/y_units/y1"),
            ({"y_units": {"\0": "V"}}, "/y_units/\0"),
            ({"y_units": []}, "/y_units"),
            ({"x_unit": "\0"}, "/x_unit"),
            ({"x_unit": "a\nb"}, "/x_unit"),
            ({"y_units": {"y1": "a\u2028b"}}, "/y_units/y1"),
        ],
    )
    def test_what_is_wrong_is_named(self, either, fields, pointer):
        check_fact(
            either.post("/v1/datasets", {"name": "a", "columns": CURVES, **fields}),
            422,
            pointer=pointer,
        )

    def test_in_text_it_is_named_by_its_parameter(self, either):
        for text in ('{"no": "V"}', "[]", "{", '{"y1": 5}'):
            fact = check_fact(either.a_csv(CSV, {"y_units": text}), 422, parameter="y_units")
        assert "y1" in fact["detail"]

    def test_4096_bytes_can_be_stored(self, either):
        attributes = {"é": "b" * (ATTRIBUTES_BYTES - len('{"é":""}'.encode()))}
        record = either.a_dataset(curve_attributes={"y2": attributes})
        assert labels(either, record["id"])[1] == [{}, attributes]


def a_table(x=None, **metadata):
    """An Arrow table of x, y1 and y2; metadata of columns by their names."""
    fields = [
        pa.field(name, pa.float64(), metadata=metadata.get(name, x if name == "x" else None))
        for name in CURVES
    ]
    return pa.table(list(CURVES.values()), schema=pa.schema(fields))


WRITERS = {PARQUET: a_parquet, ARROW: an_arrow}
KINDS = pytest.mark.parametrize("kind", WRITERS)


@KINDS
class TestFiles:
    """Parquet and Arrow keep units and attributes in the metadata of their columns."""

    def post(self, calls, table, kind, **params):
        reply = calls.a_csv(WRITERS[kind](table), params, kind)
        assert reply.status == 201, reply.text
        return reply.json

    def test_a_download_that_is_posted_again_is_the_same(self, either, labelled, kind):
        path = f"/v1/datasets/{labelled['id']}/values"
        file = either.get(path, headers={"Accept": kind}).body
        again = either.a_csv(file, {"name": "again"}, kind).json
        assert (again["x_unit"], again["sha256"]) == ("cm-1", labelled["sha256"])
        assert again["warnings"] == []
        assert labels(either, again["id"]) == (UNITS, ATTRIBUTES)
        part = either.get(path, headers={"Accept": kind}, params={"columns": ["y2", "x"]}).body
        again = either.a_csv(part, {"name": "again"}, kind).json
        assert (again["x_unit"], labels(either, again["id"])) == ("cm-1", ([None], [ATTRIBUTES[1]]))

    def test_plain_columns_have_no_metadata(self, either, kind):
        path = f"/v1/datasets/{either.a_dataset()['id']}/values"
        file = either.get(path, headers={"Accept": kind}).body
        read = (
            pq.read_schema(io.BytesIO(file)) if kind == PARQUET else pa.ipc.open_stream(file).schema
        )
        assert [field.metadata for field in read] == [None, None, None]

    def test_the_request_goes_before_the_file(self, either, kind):
        table = a_table({"unit": "s"}, y1={"unit": "V", "attributes": '{"a": 1, "b": 2}'})
        params = {"x_unit": "ms", "y_units": '{"y2": "A"}', "curve_attributes": '{"y1": {"b": 3}}'}
        record = self.post(either, table, kind, **params)
        assert record["x_unit"] == "ms"
        assert labels(either, record["id"]) == (["V", "A"], [{"a": 1, "b": 3}, {}])

    def test_the_unit_of_an_x_that_is_not_first(self, either, kind):
        table = a_table({"unit": "s"}, y1={"unit": "V"}, y2={"unit": "A"})
        record = self.post(either, table, kind, x_column="y1")
        assert (record["x_unit"], labels(either, record["id"])[0]) == ("V", ["s", "A"])

    @pytest.mark.parametrize(
        "metadata",
        [
            {"attributes": b"\xff"},
            {"attributes": "{"},
            {"attributes": "[1]"},
            {"attributes": "null"},
            {"attributes": '{"a": NaN}'},
            {"attributes": '{"a": "\\ud800"}'},
            {"attributes": "[" * 5000},
            {"attributes": '{"a": ' + "[" * 200 + "]" * 200 + "}"},
            {"attributes": '{"a": "\\u0000"}'},
            {"attributes": '{"a": "' + "b" * 5000 + '"}'},
            {"attributes": "{" + " " * 20000 + "}"},
            {"unit": b"\xff"},
            {"unit": "V\0"},
            {"unit": "V\nA"},
            {"unit": "V" * 201},
        ],
    )
    def test_labels_that_cannot_be_stored_are_left_out_with_a_warning(self, either, kind, metadata):
        record = self.post(either, a_table(y1=metadata), kind)
        assert labels(either, record["id"]) == ([None, None], [{}, {}])
        (warning,) = record["warnings"]
        assert (warning["code"], warning["column"]) == ("label_left_out", "y1")
        assert next(iter(metadata)) in warning["detail"]

    def test_of_too_many_attributes_those_that_fit_are_kept(self, either, kind):
        attributes = {"a": 1, "long": "b" * 5000, "c": "d" * 2000, "e": "f" * 2000, "g": "h" * 2000}
        record = self.post(either, a_table(y1={"attributes": json.dumps(attributes)}), kind)
        kept = {name: attributes[name] for name in ("a", "c", "e")}
        assert labels(either, record["id"])[1] == [kept, {}]
        (warning,) = record["warnings"]
        assert "'long', 'g'" in warning["detail"]

    def test_all_labels_of_a_file_are_bounded(self, either, kind):
        table = a_table(y1={"attributes": b" " * (MOST_BYTES + 1)})
        check_fact(either.a_csv(WRITERS[kind](table), None, kind), 413, code="too_many_bytes")

    def test_one_curve_a_row_has_columns_for_them(self, either, kind):
        rows = {
            "name": ["y1", "x", "y2"],
            "y": [CURVES["y1"], CURVES["x"], CURVES["y2"]],
            "unit": ["V", "cm-1", None],
            "attributes": [json.dumps(ATTRIBUTES[0]), "{}", json.dumps(ATTRIBUTES[1])],
        }
        record = self.post(either, rows, kind)
        assert record["x_unit"] == "cm-1"
        assert labels(either, record["id"]) == (UNITS, ATTRIBUTES)
        record = self.post(either, rows | {"attributes": [None, None, "["]}, kind)
        assert labels(either, record["id"]) == (UNITS, [{}, {}])
        assert [warning["column"] for warning in record["warnings"]] == ["y2"]
        for label in ("unit", "attributes"):
            reply = either.a_csv(WRITERS[kind](rows | {label: [1, 2, 3]}), None, kind)
            check_fact(reply, 422, code="not_text", column=label)


class TestMatches:
    """Matches show the attributes that their library curves have now."""

    def test_they_show_the_attributes_of_now(self, either, labelled):
        fit = either.a_fit(CURVES, labelled["id"], top_k=2)
        path = f"/v1/fits/{fit['id']}/matches"
        patch = {"y2": {"attributes": {"new": [1]}}}
        either.patch(f"/v1/datasets/{labelled['id']}/curves", patch, etag='"1"')
        now = [ATTRIBUTES[0], ATTRIBUTES[1] | {"new": [1]}]
        expected = [now[0], now[1], now[1], now[0]]
        items = either.get(path).json["items"]
        assert [item["ideal_attributes"] for item in items] == expected
        table = pq.read_table(io.BytesIO(either.get(path, headers={"Accept": PARQUET}).body))
        assert list(map(json.loads, table["ideal_attributes"].to_pylist())) == expected
        text = either.get(f"{path}?rank=1&limit=1", headers={"Accept": "text/csv"}).text
        (row,) = csv.DictReader(io.StringIO(text))
        assert json.loads(row["ideal_attributes"]) == now[0]
        record = either.get(f"/v1/fits/{fit['id']}").json
        assert not [item for item in record["matches"]["items"] if "ideal_attributes" in item]


class TestShown:
    """Units are titles of axes, and the SQLite file of a mapping has all labels."""

    def test_the_titles_of_axes_have_the_units(self, either):
        record = either.a_dataset(x_unit="$\\mu$m", y_units={"y1": "V", "y2": "V"})
        path = f"/v1/datasets/{record['id']}/plot"
        text = either.get(path, headers={"Accept": "application/json"}).text
        assert json.dumps("x [$\\mu$m]") in text
        assert json.dumps("y [V]") in text
        assert either.get(path, headers={"Accept": "image/svg+xml"}).status == 200

    def test_units_that_differ_are_no_title(self, either, labelled):
        path = f"/v1/datasets/{labelled['id']}/plot"
        text = either.get(path, headers={"Accept": "application/json"}).text
        assert '"x [cm-1]"' in text
        assert "y [" not in text

    def test_the_export_has_the_labels_by_the_names_of_its_columns(self, either, tmp_path):
        columns = {"x": CURVES["x"], "Y1": CURVES["y1"], "y1": CURVES["y2"]}
        record = either.a_dataset(columns, x_unit="nm", curve_attributes={"y1": {"é": 1}})
        mapping = either.a_mapping(either.a_fit(record["id"], record["id"])["id"], record["id"])
        (tmp_path / "a.db").write_bytes(either.get(f"/v1/mappings/{mapping['id']}/export").body)
        with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as file:
            rows = file.execute("SELECT * FROM curve_labels").fetchall()
        assert rows == [
            (table, *row)
            for table in ("training_data", "ideal_functions", "test_data")
            for row in (("x", "nm", None), ("y1_2", None, '{"é":1}'))
        ]

    def test_an_export_of_plain_curves_has_no_table_for_them(self, either):
        body = either.get(f"/v1/mappings/{either.a_mapping()['id']}/export").body
        assert b"curve_labels" not in body


class TestChange:
    def change(self, calls, record, patch, place="", etag=None):
        path = f"/v1/datasets/{record['id']}/curves{place}"
        return calls.patch(path, patch, etag=etag or f'"{record["version"]}"')

    def test_a_merge_patch_by_names_changes_the_version_alone(self, either, labelled):
        patch = {
            "y1": {"unit": None, "attributes": {"n": None, "deep": {"a": [1]}}},
            "y2": {"unit": "A"},
        }
        reply = self.change(either, labelled, patch)
        assert (reply.status, reply.etag, reply.json["version"]) == (200, '"2"', 2)
        assert labels(either, labelled["id"]) == (
            [None, "A"],
            [{"CAS": "64-17-5", "deep": {"a": [1]}}, {"CAS": "67-56-1"}],
        )
        assert reply.json["sha256"] == labelled["sha256"]
        assert reply.json["updated_at"] > labelled["updated_at"]
        assert either.get(f"/v1/datasets/{labelled['id']}").json == reply.json

    def test_a_curve_is_changed_by_its_position(self, either, labelled):
        reply = self.change(either, labelled, {"attributes": None, "unit": "A"}, "/0")
        assert (reply.status, reply.etag) == (200, '"2"')
        assert (reply.json["unit"], reply.json["attributes"]) == ("A", {})
        found = either.get(f"/v1/datasets/{labelled['id']}/curves/0")
        assert (found.json, found.etag) == (reply.json, '"2"')
        assert curves(either, labelled["id"])[0] == reply.json

    def test_what_changes_nothing_keeps_the_version(self, either, labelled):
        for patch in ({}, {"y1": {}}, {"y1": {"unit": "V", "attributes": {"no": None, "n": 5}}}):
            reply = self.change(either, labelled, patch)
            assert (reply.status, reply.json["version"]) == (200, 1)

    def test_another_type_of_the_same_number_is_a_change(self, either, labelled):
        assert (
            self.change(either, labelled, {"y1": {"attributes": {"n": 5.0}}}).json["version"] == 2
        )

    def test_it_needs_the_version_of_the_dataset(self, either, labelled):
        for place, patch in (("", {"y1": {"unit": "A"}}), ("/0", {"unit": "A"})):
            path = f"/v1/datasets/{labelled['id']}/curves{place}"
            check_problem(either.patch(path, patch), 428)
            check_problem(either.patch(path, patch, etag='"7"'), 412)
        assert labels(either, labelled["id"]) == (UNITS, ATTRIBUTES)

    @pytest.mark.parametrize(
        ("patch", "pointer"),
        [
            ({"y1": {"unit": "A"}, "no": {}}, "/no"),
            ({"y1": {"unit": "A"}, "\0": {}}, "/\0"),
            ({"y1": {"unit": "A"}, "x": {}}, "/x"),
            ({"y2": {"unit": "A"}, "y1": None}, "/y1"),
            ({"y2": {"unit": "A"}, "y1": {"name": "z"}}, "/y1/name"),
            ({"y2": {"unit": "A"}, "y1": {"attributes": {"a": "\0"}}}, "/y1/attributes"),
            ({"y2": {"unit": "A"}, "y1": {"attributes": {"a": "b" * 4080}}}, "/y1/attributes"),
            ({"y2": {"unit": "A"}, "y1": {"unit": 5}}, "/y1/unit"),
        ],
    )
    def test_all_change_or_none(self, either, labelled, patch, pointer):
        check_fact(self.change(either, labelled, patch), 422, pointer=pointer)
        assert labels(either, labelled["id"]) == (UNITS, ATTRIBUTES)

    def test_a_list_is_no_patch(self, either, labelled):
        check_problem(self.change(either, labelled, []), 422)

    def test_there_is_no_curve_behind_the_last(self, either, labelled):
        for place in ("/2", "/x", "/-1", f"/{10**30}"):
            check_problem(self.change(either, labelled, {}, place), 404)
            check_problem(either.get(f"/v1/datasets/{labelled['id']}/curves{place}"), 404)
        check_problem(either.get("/v1/datasets/no/curves/0"), 404)

    def test_the_unit_of_x_is_changed_with_the_record(self, either, labelled):
        path = f"/v1/datasets/{labelled['id']}"
        assert either.patch(path, {"x_unit": "nm"}, etag='"1"').json["x_unit"] == "nm"
        assert either.patch(path, {"x_unit": None}, etag='"2"').json["x_unit"] is None

    def test_a_deleted_dataset_leaves_no_labels(self, either, labelled):
        assert either.delete(f"/v1/datasets/{labelled['id']}").status == 204


NAMES = ["Ethanol 5%", "ethanol_6", "METHANOL", "Éther", "éther", "água", "a\\b"]
SAMPLES = {
    "Ethanol 5%": {"CAS": "64-17-5", "n": 5, "ok": True, "key:with": "a:b"},
    "ethanol_6": {"CAS": "64-17-5", "n": 5.0, "ok": "true"},
    "METHANOL": {"CAS": "67-56-1", "n": "5", "deep": {"CAS": "64-17-5"}},
    "Éther": {"CAS": '60-29-7"\n\\', "n": -0.5, "list": [1, "a"]},
    "éther": {"CAS": None, "n": 50, "note": '"CAS":"64-17-5"', "": ""},
    "água": {},
}


@pytest.fixture(scope="module")
def samples(either):
    """Dataset of curves called NAMES, with the attributes SAMPLES."""
    columns = {"x": [0.0, 1.0]} | {name: [1.0, 2.0] for name in NAMES}
    return either.a_dataset(columns, curve_attributes=SAMPLES)["id"]


class TestSearch:
    @pytest.fixture
    def search(self, either, samples):
        """Function that returns the names of the curves that a search finds."""

        def find(**params):
            pages = either.pages(f"/v1/datasets/{samples}/curves", limit=1, **params)
            return [curve["name"] for page in pages for curve in page]

        return find

    @pytest.mark.parametrize(
        ("words", "found"),
        [
            ("THANOL", NAMES[:3]),
            ("%", NAMES[:1]),
            ("_", NAMES[1:2]),
            ("l_5", []),
            ("É", ["Éther"]),
            ("ÁGUA", []),
            ("ágUA", ["água"]),
            ("\\", ["a\\b"]),
            ("", NAMES),
        ],
    )
    def test_by_a_part_of_the_name(self, search, words, found):
        assert search(contains=words) == found

    def test_by_the_name(self, search):
        assert search(name="METHANOL") == ["METHANOL"]
        assert search(name="methanol") == []

    @pytest.mark.parametrize(
        ("attribute", "found"),
        [
            ("CAS:64-17-5", NAMES[:2]),
            ("CAS:64-17", []),
            ("cas:64-17-5", []),
            ("n:5", NAMES[:3]),
            ("n:5.0", NAMES[:2]),
            ("n:-0.5", ["Éther"]),
            ("n:1e300", []),
            ("n:1e999", []),
            (f"n:{2**63}", []),
            (f"n:{10**40}", []),
            ("n:" + "[" * 900, []),
            ("ok:true", NAMES[:2]),
            ("CAS:null", ["éther"]),
            ('CAS:60-29-7"\n\\', ["Éther"]),
            ("key\\:with:a:b", NAMES[:1]),
            ("key:with:a:b", []),
            ('deep:{"CAS":"64-17-5"}', ["METHANOL"]),
            ('list:[1, "a"]', ["Éther"]),
            (":", ["éther"]),
            (["CAS:64-17-5", "n:5.0"], NAMES[:2]),
            (["CAS:64-17-5", "ok:true", "key\\:with:a:b"], NAMES[:1]),
            (["CAS:64-17-5", "CAS:67-56-1"], []),
        ],
    )
    def test_by_attributes(self, search, attribute, found):
        assert search(attribute=attribute) == found

    def test_by_all_together(self, search):
        assert search(contains="ETHANOL", attribute="n:5", name="METHANOL") == ["METHANOL"]

    @pytest.mark.parametrize(
        "params", [{"attribute": "CAS"}, {"attribute": ["a:b"] * 11}, {"facets": ["a"] * 11}]
    )
    def test_what_is_wrong_is_named(self, either, labelled, params):
        reply = either.get(f"/v1/datasets/{labelled['id']}/curves", params=params)
        check_fact(reply, 422, parameter=next(iter(params)))


class TestFacets:
    def facets(self, calls, dataset_id, **params):
        return calls.get(f"/v1/datasets/{dataset_id}/curves", params=params).json["facets"]

    def test_values_are_counted_by_frequency_then_text(self, either, samples):
        dataset_id = samples
        found = self.facets(either, dataset_id, facets=["CAS", "n", "no", 'q"'], limit=1)
        assert found["CAS"] == [
            {"value": "64-17-5", "count": 2},
            {"value": '60-29-7"\n\\', "count": 1},
            {"value": "67-56-1", "count": 1},
            {"value": None, "count": 1},
        ]
        assert [type(each["value"]) for each in found["n"]] == [str, float, int, float, int]
        assert (found["no"], found['q"']) == ([], [])
        few = self.facets(either, dataset_id, facets="n", attribute="CAS:64-17-5")
        assert few["n"] == [{"value": 5, "count": 1}, {"value": 5.0, "count": 1}]
        few = self.facets(either, dataset_id, facets="n", contains="metha")
        assert few["n"] == [{"value": "5", "count": 1}]
        few = self.facets(either, dataset_id, facets="n", name="Éther", contains="É")
        assert few["n"] == [{"value": -0.5, "count": 1}]

    def test_the_50_most_frequent_are_given(self, either):
        names = [f"c{i}" for i in range(120)]
        columns = {"x": [0.0, 1.0]} | {name: [1.0, 2.0] for name in names}
        attributes = {name: {"k": i % 60} for i, name in enumerate(names)}
        attributes |= {f"c{i}": {"k": 59} for i in range(5)}
        dataset_id = either.a_dataset(columns, curve_attributes=attributes)["id"]
        found = self.facets(either, dataset_id, facets="k")["k"]
        assert len(found) == 50
        assert found[0] == {"value": 59, "count": 7}
        assert {each["count"] for each in found[1:]} == {2}

    def test_without_a_wish_there_are_none(self, either, labelled):
        assert self.facets(either, labelled["id"]) == {}


class TestLists:
    def test_contains_filters_every_list_of_records(self, either):
        dataset = either.a_dataset(name="Zz%_ Träger")
        fit = either.a_fit(dataset["id"], name="zZ%_ fit")
        mapping = either.a_mapping(fit["id"], POINTS, name="ZZ%_ map")
        for noun, record in (("datasets", dataset), ("fits", fit), ("mappings", mapping)):
            found = [
                item["id"]
                for page in either.pages(f"/v1/{noun}", contains="zz%_", limit=1)
                for item in page
            ]
            assert found.count(record["id"]) == 1
            names = [
                each["name"].lower()
                for each in either.get(f"/v1/{noun}", params={"contains": "zz%_"}).json["items"]
            ]
            assert all("zz%_" in name for name in names)
            params = {"contains": "zz%_", "name": record["name"], "sort": "name"}
            assert record["id"] in [
                each["id"] for each in either.get(f"/v1/{noun}", params=params).json["items"]
            ]
            assert either.get(f"/v1/{noun}", params={"contains": "zz__"}).json["items"] == []


class TestUse:
    def test_a_grid_can_be_anything(self, labelled):
        assert labelled["usable_as"] == ["training", "library", "test"]
        assert labelled["warnings"] == []

    @pytest.mark.parametrize(
        ("x", "code", "row", "words"),
        [
            ([0, 1, 2, 7, 7], "repeated_x", 4, "Rows 3 and 4 both have x = 7.0."),
            ([3, 1, -0.0, 0.0], "repeated_x", 3, "Rows 2 and 3 both have x = 0.0."),
            ([3, None, 2], "missing_x", 1, "Row 1 has no x."),
            ([None], "missing_x", 0, "Row 0 has no x."),
        ],
    )
    def test_other_x_is_for_test_points_only(self, either, x, code, row, words):
        record = either.a_dataset({"x": x, "y": list(range(len(x)))})
        assert record["usable_as"] == ["test"]
        (warning,) = record["warnings"]
        assert (warning["code"], warning["column"], warning["row"]) == (code, "x", row)
        assert warning["detail"].startswith(words)
        assert "x_column" in warning["detail"]
        body = {"training_id": record["id"], "ideal_id": record["id"]}
        check_fact(either.post("/v1/fits", body), 422, code=code)
        listed = either.get("/v1/datasets", params={"limit": 500}).json["items"]
        assert [each["usable_as"] for each in listed if each["id"] == record["id"]] == [["test"]]

    def test_rows_in_any_order_and_a_single_row_are_grids(self, either):
        for x in ([3.0, 1.0, 2.0], [5.0]):
            record = either.a_dataset({"x": x, "y": x})
            assert record["usable_as"] == ["training", "library", "test"]
