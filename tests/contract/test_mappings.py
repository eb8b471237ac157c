"""Mappings: the record, policies and limits, points, the export, and the known results."""

from __future__ import annotations

import csv
import io
import math
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from services.mapping.functions import Functions
from services.mapping.options import MapOptions
from tests import naive
from tests.calls import (
    CURVES,
    LIBRARY,
    POINTS,
    RFC3339_UTC,
    check_fact,
    check_problem,
    next_link,
    same_bits,
)
from tests.contract.test_fits import EXAMPLES, SEED, posted
from tests.factories import a_table

RECORD = {
    "id",
    "name",
    "fit_id",
    "test_id",
    "policy",
    "tolerance_factor",
    "alignment",
    "x_tolerance",
    "state",
    "progress",
    "error",
    "created_at",
    "started_at",
    "finished_at",
    "version",
    "n_points",
    "mapped_points",
    "unmapped_points",
    "n_assignments",
    "unmapped_reasons",
    "functions",
    "points",
}
FUNCTION = {"training", "ideal", "limit", "n_assignments", "deviation_mean", "deviation_max"}
POINT = ("point", "column", "x", "y", "training", "ideal", "deviation", "limit", "reason")

# On 0, 1, 2 the first training curve lies 0.5 off f, the second 2.0 off g, and f and g are 1 apart.
TRAINING = {"x": [0.0, 1.0, 2.0], "a": [0.5, -0.5, 0.5], "b": [3.0, -1.0, 3.0]}
IDEAL = {"x": [0.0, 1.0, 2.0], "f": [0.0, 0.0, 0.0], "g": [1.0, 1.0, 1.0], "h": [9.0, 9.0, 9.0]}


def a_fit_of_two(calls, **options):
    """Functions f with max_deviation 0.5 and g with 2.0."""
    lists = {"ideal_curves": ["f", "g"]}
    record = calls.a_fit(TRAINING, IDEAL, **lists | options)
    return record["id"]


def assigned(mapping, row=0):
    """Functions that a row's points were given, by the order of the reply."""
    items = mapping["points"]["items"]
    return [item["ideal"] for item in items if item["point"] == row and item["ideal"]]


class TestRecord:
    """201, Location, ETag and the record."""

    def test_a_post_gives_the_record_and_where_it_is(self, calls):
        body = {"fit_id": calls.a_fit()["id"], "test_id": calls.a_dataset(POINTS)["id"]}
        reply = calls.post("/v1/mappings", body)
        assert reply.status == 201
        assert set(reply.json) >= RECORD
        found = calls.get(reply.headers["Location"])
        assert (found.json, found.etag) == (reply.json, reply.etag)
        assert reply.headers["Location"] == f"/v1/mappings/{reply.json['id']}"

    def test_only_the_ids_are_needed(self, calls):
        fit, test = calls.a_fit(), calls.a_dataset(POINTS)
        record = calls.a_mapping(fit["id"], test["id"])
        expected = {
            "fit_id": fit["id"],
            "test_id": test["id"],
            "policy": "all",
            "tolerance_factor": 1.4142135623730951,
            "alignment": "exact",
            "x_tolerance": fit["x_tolerance"],
            "state": "succeeded",
            "error": None,
            "version": 1,
        }
        assert record | expected == record
        assert record["name"]
        assert record["progress"]["done"] == record["progress"]["total"]
        for field in ("created_at", "started_at", "finished_at"):
            assert RFC3339_UTC.fullmatch(record[field])

    def test_the_counts_add_up(self, calls):
        x = [0.0, 1.0, 2.0, 7.0, None, 1.0]
        test = {"x": x, "y": [0.1, 50.0, None, 0.0, 1.0, 0.7], "z": [0.0, 0.0, 0.0, 0.0, 0.0, None]}
        record = calls.a_mapping(a_fit_of_two(calls), test)
        assert record["n_points"] == 12
        assert record["mapped_points"] + record["unmapped_points"] == 12
        expected = {"deviation": 1, "x_not_covered": 2, "missing_value": 4}
        assert record["unmapped_reasons"] == expected
        assert record["unmapped_points"] == 7
        assert record["n_assignments"] == sum(f["n_assignments"] for f in record["functions"])
        assert record["n_assignments"] == len(record["points"]["items"]) - 7

    def test_functions_say_what_they_admitted(self, calls):
        test = {"x": [0.0, 1.0, 2.0], "y": [0.25, -0.5, 90.0]}
        first, second = calls.a_mapping(a_fit_of_two(calls), test)["functions"]
        assert set(first) == set(second) == FUNCTION
        assert first == {
            "training": "a",
            "ideal": "f",
            "limit": 0.5 * math.sqrt(2),
            "n_assignments": 2,
            "deviation_mean": 0.375,
            "deviation_max": 0.5,
        }
        assert (second["training"], second["ideal"], second["n_assignments"]) == ("b", "g", 2)

    def test_mean_and_max_are_null_without_assignments(self, calls):
        record = calls.a_mapping(a_fit_of_two(calls), {"x": [0.0], "y": [90.0]})
        for function in record["functions"]:
            assert (function["deviation_mean"], function["deviation_max"]) == (None, None)

    def test_a_point_has_every_field_and_null_where_there_is_nothing(self, calls):
        test = {"x": [0.0, None, 9.0, 1.0], "y": [0.25, 1.0, None, 90.0]}
        items = calls.a_mapping(a_fit_of_two(calls), test, policy="first")["points"]["items"]
        limit = 0.5 * math.sqrt(2)
        rows = [
            (0, "y", 0.0, 0.25, "a", "f", 0.25, limit, None),
            (1, "y", None, 1.0, None, None, None, None, "missing_value"),
            (2, "y", 9.0, None, None, None, None, None, "missing_value"),
            (3, "y", 1.0, 90.0, None, None, None, None, "deviation"),
        ]
        assert items == [dict(zip(POINT, row, strict=True)) for row in rows]

    def test_points_are_in_the_order_of_row_column_and_training_curve(self, calls):
        test = {"x": [2.0, 0.0, 1.0, 1.0], "z": [0.5] * 4, "y": [0.5, 99.0, 0.5, None]}
        record = calls.a_mapping(a_fit_of_two(calls), test)
        items = record["points"]["items"]
        places = [(item["point"], item["column"], item["training"]) for item in items]
        both = ["a", "b"]
        expected = [
            *((0, "z", t) for t in both),
            *((0, "y", t) for t in both),
            *((1, "z", t) for t in both),
            (1, "y", None),
            *((2, "z", t) for t in both),
            *((2, "y", t) for t in both),
            *((3, "z", t) for t in both),
            (3, "y", None),
        ]
        assert places == expected

    def test_test_points_may_repeat_x_and_lack_it(self, calls):
        test = {"x": [1.0, 1.0, None, None], "y": [0.0, 0.0, 0.0, 0.0]}
        record = calls.a_mapping(a_fit_of_two(calls), test)
        assert (record["mapped_points"], record["unmapped_reasons"]["missing_value"]) == (2, 2)

    def test_only_rank_one_is_mapped(self, calls):
        whole = calls.a_mapping(a_fit_of_two(calls, top_k=2))
        assert [f["ideal"] for f in whole["functions"]] == ["f", "g"]


class TestPolicies:
    """Which of the functions that admit a point."""

    @pytest.mark.parametrize(
        ("y", "policy", "expected"),
        [
            (0.25, "all", ["f", "g"]),
            (0.25, "nearest", ["f"]),
            (0.25, "first", ["f"]),
            (0.6, "nearest", ["g"]),
            (0.6, "first", ["f"]),
            (0.5, "nearest", ["f"]),
            (-1.0, "all", ["g"]),
            (-1.0, "first", ["g"]),
        ],
    )
    def test_policies(self, calls, y, policy, expected):
        test = {"x": [0.0], "y": [y]}
        assert assigned(calls.a_mapping(a_fit_of_two(calls), test, policy=policy)) == expected

    def test_a_nearer_function_that_refuses_does_not_hide_one_that_admits(self, calls):
        """-1.0 is nearer to f, whose limit is 0.71, than to g, whose limit is 2.83."""
        test = {"x": [0.0], "y": [-1.0]}
        mapping = calls.a_mapping(a_fit_of_two(calls), test, policy="nearest")
        assert assigned(mapping) == ["g"]
        assert mapping["points"]["items"][0]["deviation"] == 2.0

    @pytest.mark.parametrize(("policy", "expected"), [("all", 2), ("nearest", 1), ("first", 1)])
    def test_a_function_chosen_twice_gives_two_assignments_that_name_both(
        self, calls, policy, expected
    ):
        training = {"x": [0.0, 1.0], "p": [0.5, 0.0], "q": [0.0, 0.25]}
        fit = calls.a_fit(training, {"x": [0.0, 1.0], "f": [0.0, 0.0], "h": [9.0, 9.0]})
        items = calls.a_mapping(fit["id"], {"x": [0.0], "y": [0.1]}, policy=policy)["points"][
            "items"
        ]
        assert [(item["training"], item["ideal"]) for item in items] == [
            ("p", "f"),
            ("q", "f"),
        ][:expected]
        assert items[0]["limit"] == 0.5 * math.sqrt(2)

    def test_a_point_at_the_limit_is_admitted_and_one_step_further_not(self, calls):
        fit = a_fit_of_two(calls)
        for factor in (1.0, 2.0, math.sqrt(2), 3.3):
            limit = 0.5 * factor
            y = [limit, math.nextafter(limit, 9), -limit, math.nextafter(-limit, -9)]
            test = {"x": [0.0] * 4, "y": y}
            record = calls.a_mapping(fit, test, tolerance_factor=factor)
            admitted = ["f" in assigned(record, row) for row in range(4)]
            assert admitted == [True, False, True, False]

    def test_a_factor_of_zero_admits_points_on_the_curve_alone(self, calls):
        test = {"x": [0.0] * 3, "y": [0.0, 5e-324, 1.0]}
        record = calls.a_mapping(a_fit_of_two(calls), test, tolerance_factor=0)
        assert [assigned(record, row) for row in range(3)] == [["f"], [], ["g"]]

    def test_a_limit_beyond_float64_admits_all_and_is_null(self, calls):
        training = {"x": [0.0], "a": [1e10]}
        fit = calls.a_fit(training, {"x": [0.0], "f": [0.0]})
        record = calls.a_mapping(fit["id"], {"x": [0.0], "y": [1e300]}, tolerance_factor=1e300)
        assert record["functions"][0]["limit"] is None
        assert record["mapped_points"] == 1

    @pytest.mark.parametrize("transform", ["none", "offset", "scale", "affine"])
    @pytest.mark.parametrize("policy", ["all", "nearest", "first"])
    def test_points_agree_with_the_slow_loops(self, calls, transform, policy):
        random = np.random.default_rng(11)
        fit = calls.a_fit(CURVES, LIBRARY, transform=transform, min_overlap=1.0)
        x = random.choice([0.0, 1.0, 2.0, 0.5, 9.0, np.nan], 60)
        y = np.where(random.random(60) < 0.1, np.nan, random.uniform(0, 5, 60))
        test = a_table([None if math.isnan(v) else v for v in x], nulls(y))
        found = calls.a_mapping(fit["id"], {"x": nulls(x), "y": nulls(y)}, policy=policy)
        matches = fit["matches"]["items"]
        functions = Functions(
            np.array([LIBRARY[match["ideal"]] for match in matches]),
            np.array([match["scale"] for match in matches]),
            np.array([match["offset"] for match in matches]),
            np.array([naive.limit_of(m["max_deviation"], math.sqrt(2)) for m in matches]),
        )
        options = MapOptions(policy=policy, x_tolerance=fit["x_tolerance"])
        expected = naive.assign(test, np.array(LIBRARY["x"]), functions, options)
        shown = [
            (item["point"], item["reason"], item["deviation"], item["training"])
            for item in found["points"]["items"]
        ]
        names = ["y1", "y2"]
        assert shown == [
            (i.point, i.reason, i.deviation, names[i.function] if i.function >= 0 else None)
            for i in expected
        ]


def nulls(values):
    return [None if math.isnan(value) else value for value in values.tolist()]


class TestAlignment:
    """As the fit, unless asked otherwise; shown as used."""

    @pytest.mark.parametrize(
        ("fitted", "asked", "shown"),
        [
            ({}, {}, ("exact", 1e-6)),
            ({"x_tolerance": 0.25}, {}, ("exact", 0.25)),
            ({"x_tolerance": 0.25}, {"alignment": "exact"}, ("exact", 0.25)),
            ({"x_tolerance": 0.25}, {"x_tolerance": 0}, ("exact", 0.0)),
            ({"x_tolerance": 0.25}, {"alignment": None, "x_tolerance": None}, ("exact", 0.25)),
            ({"x_tolerance": 0.25}, {"alignment": "linear"}, ("linear", None)),
            ({"alignment": "linear"}, {}, ("linear", None)),
            ({"alignment": "linear"}, {"alignment": "exact"}, ("exact", 1e-6)),
            ({"alignment": "linear"}, {"alignment": "exact", "x_tolerance": 0.5}, ("exact", 0.5)),
        ],
    )
    def test_the_parameters_are_those_of_the_fit_or_those_asked_for(
        self, calls, fitted, asked, shown
    ):
        record = calls.a_mapping(calls.a_fit(**fitted)["id"], **asked)
        assert (record["alignment"], record["x_tolerance"]) == shown
        evaluated = calls.post(f"/v1/fits/{record['fit_id']}/evaluate", POINTS | asked).json
        assert (evaluated["alignment"], evaluated["x_tolerance"]) == shown

    @pytest.mark.parametrize(
        ("asked", "covered"),
        [
            ({}, [True, False, False, False]),
            ({"x_tolerance": 0.25}, [True, True, False, False]),
            ({"alignment": "linear"}, [True, True, True, False]),
        ],
    )
    def test_what_is_not_covered_says_so(self, calls, asked, covered):
        test = {"x": [1.0, 1.25, 1.5, 2.5], "y": [0.0] * 4}
        items = calls.a_mapping(a_fit_of_two(calls), test, policy="first", **asked)["points"][
            "items"
        ]
        assert [item["reason"] != "x_not_covered" for item in items] == covered

    def test_linear_values_lie_between_the_neighbours(self, calls):
        library = {"x": [0.0, 2.0], "f": [0.0, 1.0]}
        fit = calls.a_fit({"x": [0.0, 2.0], "y": [0.5, 1.0]}, library)
        test = {"x": [1.0], "y": [0.75]}
        (item,) = calls.a_mapping(fit["id"], test, alignment="linear")["points"]["items"]
        assert item["deviation"] == 0.25

    def test_a_function_with_a_gap_does_not_cover(self, calls):
        library = {"x": [0.0, 1.0], "f": [0.0, None]}
        fit = calls.a_fit({"x": [0.0, 1.0], "y": [0.5, None]}, library)
        test = {"x": [0.0, 1.0], "y": [0.0, 0.0]}
        items = calls.a_mapping(fit["id"], test)["points"]["items"]
        assert [item["reason"] for item in items] == [None, "x_not_covered"]


class TestRefused:
    def test_an_unknown_id_is_422_with_its_pointer(self, calls):
        fit = calls.a_fit()
        ids = {"fit_id": fit["id"], "test_id": fit["training_id"]}
        # An id of the wrong kind is as unknown as any other.
        for field, wrong in (("fit_id", fit["training_id"]), ("test_id", fit["id"])):
            reply = calls.post("/v1/mappings", ids | {field: wrong})
            check_fact(reply, 422, code="unknown_id", pointer=f"/{field}")

    """422 with the place, 409 for what has ended."""

    OPTIONS = (
        ("fit_id", "nobody"),
        ("fit_id", None),
        ("test_id", "nobody"),
        ("test_id", 7),
        ("policy", "best"),
        ("policy", None),
        ("tolerance_factor", -1e-300),
        ("tolerance_factor", None),
        ("tolerance_factor", "1"),
        ("tolerance_factor", True),
        ("alignment", "cubic"),
        ("x_tolerance", -1),
        ("x_tolerance", []),
        ("name", ""),
        ("points", []),
    )

    @pytest.mark.parametrize(("field", "value"), OPTIONS, ids=repr)
    def test_a_bad_option_is_422_with_its_pointer(self, calls, some, field, value):
        ids = {"fit_id": some.fit["id"], "test_id": some.dataset["id"]}
        check_fact(calls.post("/v1/mappings", ids | {field: value}), 422, pointer=f"/{field}")

    def test_a_tolerance_with_linear_alignment_is_422(self, calls, some):
        body = {"fit_id": some.fit["id"], "test_id": some.dataset["id"], "alignment": "linear"}
        reply = calls.post("/v1/mappings", body | {"x_tolerance": 0.1})
        check_fact(reply, 422, pointer="/x_tolerance")

    def test_nothing_is_stored(self, calls, some):
        before = calls.get("/v1/mappings").json
        calls.post("/v1/mappings", {"fit_id": some.fit["id"], "test_id": "nobody"})
        assert calls.get("/v1/mappings").json == before

    def test_a_mapping_that_has_ended_cannot_be_cancelled(self, calls, some):
        reply = calls.post(f"{some.address['mappings']}/cancel")
        assert "succeeded" in check_problem(reply, 409)["detail"]


class TestLife:
    """Patch, append, delete."""

    def test_the_name_can_be_changed_and_nothing_else_changes(self, calls):
        mapping = calls.a_mapping()
        path = f"/v1/mappings/{mapping['id']}"
        changed = calls.patch(path, {"name": "new"}, etag='"1"').json
        assert changed == mapping | {"name": "new", "version": 2}
        check_fact(calls.patch(path, {"policy": "first"}, etag="*"), 422, pointer="/policy")

    def test_a_mapping_keeps_the_curves_it_was_made_with(self, calls):
        test = calls.a_dataset(POINTS)
        mapping = calls.a_mapping(calls.a_fit()["id"], test["id"])
        columns = {"x": POINTS["x"], "z": [1, 2, 3, 4]}
        path = f"/v1/datasets/{test['id']}/curves"
        assert calls.post(path, {"columns": columns}).status == 200
        path = f"/v1/mappings/{mapping['id']}"
        assert calls.get(path).json == mapping
        found = calls.get(f"{path}/points").json["items"]
        assert {item["column"] for item in found} == {"y"}
        assert calls.a_mapping(mapping["fit_id"], test["id"])["n_points"] == 8

    def test_a_deleted_mapping_takes_its_points_along(self, calls):
        path = f"/v1/mappings/{calls.a_mapping()['id']}"
        assert calls.delete(path).status == 204
        for rest in ("", "/points", "/export", "/plot"):
            check_problem(calls.get(path + rest), 404)


@pytest.fixture(scope="module")
def many(calls):
    """A mapping of 400 points on 100 rows and 4 columns, mapped and not."""
    x = [float(i % 4) for i in range(100)]
    columns = {
        f"c{i}": [[0.25, 0.9, 50.0, None][(i + j) % 4] for j in range(100)] for i in range(4)
    }
    return calls.a_mapping(a_fit_of_two(calls), {"x": x} | columns)


class TestPoints:
    """The points in pages, filtered, as JSON and as CSV."""

    def whole(self, calls, many):
        path = f"/v1/mappings/{many['id']}/points"
        return [item for page in calls.pages(path, limit=500) for item in page]

    def test_the_record_shows_the_first_hundred(self, calls, many):
        whole, shown = self.whole(calls, many), many["points"]
        assert shown["items"] == whole[:100]
        path = f"/v1/mappings/{many['id']}/points"
        rest = calls.get(path, params={"cursor": shown["next"], "limit": 500}).json["items"]
        assert shown["items"] + rest == whole
        assert calls.get(path).json == shown

    @pytest.mark.parametrize(
        ("query", "keep"),
        [
            ("status=mapped", lambda item: item["reason"] is None),
            ("status=unmapped", lambda item: item["reason"] is not None),
            ("ideal=g", lambda item: item["ideal"] == "g"),
            ("training=a", lambda item: item["training"] == "a"),
            ("training=a&ideal=f", lambda item: item["training"] == "a"),
            ("training=a&ideal=g", lambda item: item is None),
            ("ideal=G", lambda item: item is None),
            ("status=unmapped&ideal=g", lambda item: item is None),
            ("status=mapped&training=b", lambda item: item["training"] == "b"),
        ],
    )
    def test_filters(self, calls, many, query, keep):
        expected = [item for item in self.whole(calls, many) if keep(item)]
        path = f"/v1/mappings/{many['id']}/points?{query}"
        assert [item for page in calls.pages(f"{path}&limit=60") for item in page] == expected
        rows = rows_of(calls.get(path, headers={"Accept": "text/csv"}))
        assert [int(row["point"]) for row in rows] == [item["point"] for item in expected]
        counts = {"status=mapped": "n_assignments", "status=unmapped": "unmapped_points"}
        if query in counts:
            assert len(expected) == many[counts[query]]

    def test_csv_holds_all_and_the_same_bits(self, calls, many):
        reply = calls.get(f"/v1/mappings/{many['id']}/points", headers={"Accept": "text/csv"})
        assert reply.headers["Content-Type"] == "text/csv; charset=utf-8"
        rows, whole = rows_of(reply), self.whole(calls, many)
        assert tuple(rows[0]) == POINT
        assert len(rows) == len(whole)
        for row, item in zip(rows, whole, strict=True):
            for name in ("column", "training", "ideal", "reason"):
                assert row[name] == (item[name] or "")
            for name in ("x", "y", "deviation", "limit"):
                assert (row[name] == "") == (item[name] is None)
                assert row[name] == "" or same_bits([float(row[name])], [item[name]])

    def test_csv_has_pages_and_a_start_too(self, calls, many):
        path = f"/v1/mappings/{many['id']}/points"
        headers = {"Accept": "text/csv"}
        whole = rows_of(calls.get(path, headers=headers))
        first = calls.get(path, params={"limit": 30}, headers=headers)
        second = calls.get(next_link(first), headers=headers)
        assert rows_of(first) + rows_of(second) == whole[:60]
        behind = next_link(first).replace("limit=30&", "")
        assert rows_of(calls.get(behind, headers=headers)) == whole[30:]


def rows_of(reply):
    return list(csv.DictReader(io.StringIO(reply.text, newline="")))


def tables_of(reply, path):
    """The tables of an exported file, as (columns, rows) by name."""
    assert (reply.status, reply.type) == (200, "application/vnd.sqlite3")
    path.write_bytes(reply.body)
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = [name for (name,) in file.execute("SELECT name FROM sqlite_master")]
        found = {}
        for name in names:
            rows = file.execute(f"SELECT * FROM {name}")  # noqa: S608 - names of our own file
            found[name] = ([column[0] for column in rows.description], rows.fetchall())
    return found


class TestExport:
    """One SQLite file with four tables."""

    def test_it_holds_training_library_test_and_mapped_points(self, calls, tmp_path):
        test = {"x": [0.0, 9.0, None], "y": [0.25, 1.0, 2.0]}
        mapping = calls.a_mapping(a_fit_of_two(calls), test)
        reply = calls.get(f"/v1/mappings/{mapping['id']}/export")
        assert reply.headers["Content-Disposition"].startswith("attachment")
        tables = tables_of(reply, tmp_path / "project.db")
        assert set(tables) == {"training_data", "ideal_functions", "test_data", "mapped_test_data"}
        assert tables["training_data"] == table_of(TRAINING)
        assert tables["test_data"] == table_of(test)
        columns, rows = tables["mapped_test_data"]
        assert columns == ["X", "Y", "DeltaY", "IdealFunction", "TrainingFunction"]
        items = mapping["points"]["items"]
        fields = ("x", "y", "deviation", "ideal", "training")
        assert rows == [tuple(item[field] for field in fields) for item in items]

    def test_the_library_is_the_one_that_was_fitted(self, calls, tmp_path):
        chosen = {name: IDEAL[name] for name in ("x", "f", "g")}
        mapping = calls.a_mapping(a_fit_of_two(calls))
        reply = calls.get(f"/v1/mappings/{mapping['id']}/export")
        assert tables_of(reply, tmp_path / "a.db")["ideal_functions"] == table_of(chosen)

    def test_curves_appended_later_are_left_out(self, calls, tmp_path):
        ids = [calls.a_dataset(columns)["id"] for columns in (TRAINING, IDEAL, POINTS)]
        mapping = calls.a_mapping(calls.a_fit(*ids[:2])["id"], ids[2])
        for dataset, columns in zip(ids, (TRAINING, IDEAL, POINTS), strict=True):
            body = {"columns": {"x": columns["x"], "late": columns["x"]}}
            assert calls.post(f"/v1/datasets/{dataset}/curves", body).status == 200
        tables = tables_of(calls.get(f"/v1/mappings/{mapping['id']}/export"), tmp_path / "a.db")
        assert tables["training_data"] == table_of(TRAINING)
        assert tables["ideal_functions"] == table_of(IDEAL)
        assert tables["test_data"] == table_of(POINTS)

    def test_names_equal_but_for_case_get_a_suffix(self, calls, tmp_path):
        training = {"x": [0.0], "y1": [1.0], "Y1": [2.0], 'a "b"': [3.0]}
        mapping = calls.a_mapping(calls.a_fit(training, training)["id"], training)
        tables = tables_of(calls.get(f"/v1/mappings/{mapping['id']}/export"), tmp_path / "a.db")
        columns, rows = tables["training_data"]
        assert columns[:2] == ["x", "y1"]
        assert columns[2].startswith("Y1")
        assert len({column.lower() for column in columns}) == 4
        assert rows == [(0.0, 1.0, 2.0, 3.0)]
        names = {row[3] for row in tables["mapped_test_data"][1]}
        assert names == {"y1", "Y1", 'a "b"'}

    def test_beyond_1999_curves_the_library_holds_the_chosen_ones(self, calls, tmp_path):
        wide = {"x": [0.0, 1.0]} | {f"f{i}": [float(i), 0.0] for i in range(2000)}
        training = {"x": [0.0, 1.0], "a": [1998.0, 1.0], "b": [7.0, 1.0], "c": [7.0, 0.0]}
        mapping = calls.a_mapping(calls.a_fit(training, wide)["id"], training)
        tables = tables_of(calls.get(f"/v1/mappings/{mapping['id']}/export"), tmp_path / "a.db")
        assert tables["ideal_functions"] == (["x", "f7", "f1998"], [(0, 7, 1998), (1, 0, 0)])
        most = {name: wide[name] for name in list(wide)[:2000]}
        mapping = calls.a_mapping(calls.a_fit(training, most)["id"], training)
        tables = tables_of(calls.get(f"/v1/mappings/{mapping['id']}/export"), tmp_path / "b.db")
        assert tables["ideal_functions"] == table_of(most)


def table_of(columns):
    """Columns as an exported table shows them."""
    return list(columns), list(zip(*columns.values(), strict=True))


def test_the_example_files_give_points_that_were_made_on_the_curves(calls):
    ids = posted(calls, EXAMPLES)
    fit = calls.a_fit(ids["training"], ids["ideal"])
    counts = {}
    for policy in ("all", "nearest", "first"):
        record = calls.a_mapping(fit["id"], ids["test"], policy=policy)
        counts[policy] = (record["n_points"], record["mapped_points"], record["n_assignments"])
        assert record["unmapped_reasons"]["missing_value"] == 0
    assert counts == {"all": (100, 82, 88), "nearest": (100, 82, 82), "first": (100, 82, 82)}


@pytest.mark.skipif(not SEED.is_dir(), reason="the seed data lies outside the repository")
def test_the_seed_files_give_the_known_figures(calls):
    """With x_tolerance 0 one point is lost: its x and the library's differ in the last digit."""
    ids = posted(calls, SEED)
    fit = calls.a_fit(ids["training"], ids["ideal"])
    counts = {
        (policy, tolerance): calls.a_mapping(
            fit["id"], ids["test"], policy=policy, x_tolerance=tolerance
        )["n_assignments"]
        for policy in ("all", "nearest")
        for tolerance in (None, 0)
    }
    expected = {("all", None): 49, ("nearest", None): 48, ("all", 0): 48, ("nearest", 0): 47}
    assert counts == expected
