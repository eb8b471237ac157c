"""Fits: the record, every option against the slow answer, matches, evaluate and refusals."""

from __future__ import annotations

import csv
import io
import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from services.scoring.options import FitOptions
from tests import naive
from tests.calls import (
    CURVES,
    LIBRARY,
    POINTS,
    RFC3339_UTC,
    check_fact,
    check_problem,
    over_wsgi,
    same_bits,
)
from tests.factories import a_table

RECORD = {
    "id",
    "name",
    "training_id",
    "ideal_id",
    "criterion",
    "transform",
    "sign",
    "alignment",
    "x_tolerance",
    "outside",
    "min_overlap",
    "top_k",
    "training_curves",
    "ideal_curves",
    "training_sha256",
    "ideal_sha256",
    "n_training",
    "n_ideal",
    "state",
    "progress",
    "error",
    "engine",
    "created_at",
    "started_at",
    "finished_at",
    "version",
    "matches",
}
MATCH = (
    "training",
    "training_index",
    "rank",
    "ideal",
    "ideal_index",
    "score",
    "sse",
    "rmse",
    "mae",
    "max_deviation",
    "r2",
    "n",
    "scale",
    "offset",
    "correlation",
    "cosine",
    "margin",
    "warnings",
)
FIGURES = (
    "score",
    "sse",
    "rmse",
    "mae",
    "max_deviation",
    "r2",
    "scale",
    "offset",
    "correlation",
    "cosine",
    "margin",
)


def columns_of(table):
    """A table as the columns of a request."""
    rows = [table.x, *table.y]
    cells = [[None if math.isnan(v) else v for v in row.tolist()] for row in rows]
    return dict(zip(table.columns, cells, strict=True))


def a_problem(*, gaps=False, shifted=False):
    """Training curves and a library, with gaps, or with x between the library's."""
    random = np.random.default_rng(7)
    grid = random.permutation(30) / 4
    library = [np.sin(grid * (1 + j) / 3) * (1 + j % 3) + j / 10 for j in range(12)]
    x = random.permutation(grid)[:20] + (0.1 if shifted else 0.0)
    training = [
        np.interp(x, *zip(*sorted(zip(grid, library[j], strict=True)), strict=True))
        + random.uniform(-0.2, 0.2, x.size)
        for j in (3, 8, 8)
    ]
    if gaps:
        for curve in (*library[::2], training[1]):
            curve[random.integers(0, curve.size, 3)] = np.nan
    names = [f"f{j}" for j in range(12)]
    return a_table(x, *training), a_table(grid, *library, names=names)


class TestRecord:
    """201, Location, ETag and the record."""

    def test_a_post_gives_the_record_and_where_it_is(self, calls):
        training, ideal = calls.a_dataset(), calls.a_dataset(LIBRARY)
        body = {"training_id": training["id"], "ideal_id": ideal["id"]}
        reply = calls.post("/v1/fits", body)
        assert reply.status == 201
        assert set(reply.json) >= RECORD
        found = calls.get(reply.headers["Location"])
        assert (found.json, found.etag) == (reply.json, reply.etag)
        assert reply.headers["Location"] == f"/v1/fits/{reply.json['id']}"

    def test_only_the_ids_are_needed(self, calls):
        training, ideal = calls.a_dataset(name="t"), calls.a_dataset(LIBRARY, name="l")
        record = calls.a_fit(training["id"], ideal["id"])
        expected = {
            "training_id": training["id"],
            "ideal_id": ideal["id"],
            "criterion": "sse",
            "transform": "none",
            "sign": "any",
            "alignment": "exact",
            "x_tolerance": 1e-6,
            "outside": "reject",
            "min_overlap": 1.0,
            "top_k": 1,
            "training_curves": None,
            "ideal_curves": None,
            "training_sha256": training["sha256"],
            "ideal_sha256": ideal["sha256"],
            "n_training": 2,
            "n_ideal": 3,
            "state": "succeeded",
            "error": None,
            "version": 1,
        }
        assert record | expected == record
        assert record["name"]
        assert isinstance(record["engine"], str)
        assert record["progress"]["done"] == record["progress"]["total"]
        for field in ("created_at", "started_at", "finished_at"):
            assert RFC3339_UTC.fullmatch(record[field])
        assert record["created_at"] <= record["started_at"] <= record["finished_at"]

    def test_the_parameters_are_shown_as_used(self, calls):
        options = {
            "name": " my fit ",
            "criterion": "mae",
            "transform": "affine",
            "sign": "positive",
            "x_tolerance": 0.125,
            "outside": "omit",
            "min_overlap": 0.5,
            "top_k": 2,
            "training_curves": ["y2"],
            "ideal_curves": ["f3", "f1"],
        }
        record = calls.a_fit(**options)
        shown = options | {"name": "my fit", "ideal_curves": ["f1", "f3"]}
        assert record | shown == record
        assert (record["n_training"], record["n_ideal"]) == (1, 2)

    def test_a_tolerance_not_given_is_the_number_used(self, calls):
        training = {"x": [0.0], "y": [1.0]}
        assert calls.a_fit()["x_tolerance"] == 1e-6
        assert calls.a_fit(training, training)["x_tolerance"] == 0.0
        assert calls.a_fit(alignment="linear")["x_tolerance"] is None
        assert calls.a_fit(x_tolerance=None)["x_tolerance"] == 1e-6
        assert calls.a_fit(x_tolerance=0)["x_tolerance"] == 0.0

    def test_a_match_has_every_field_and_null_where_there_is_no_number(self, calls):
        training = {"x": [0.0, 1.0], "flat": [1.0, 1.0], "huge": [1e200, -1e200]}
        matches = calls.a_fit(training, training, criterion="max", ideal_curves=["flat"])["matches"]
        assert matches["next"] is None
        flat, huge = matches["items"]
        assert list(flat) == list(MATCH)
        assert (flat["r2"], flat["score"]) == (None, 0.0)
        assert huge["sse"] is None
        figures = ("score", "rmse", "mae", "max_deviation")
        assert [huge[name] for name in figures] == pytest.approx([1e200] * 4)

    def test_the_first_of_equals_wins(self, calls):
        library = {"x": [0.0, 1.0], "b": [1.0, 2.0], "a": [1.0, 2.0], "c": [1.0, 2.0]}
        training = {"x": [1.0, 0.0], "y": [2.0, 1.5]}
        items = calls.a_fit(training, library, top_k=3)["matches"]["items"]
        assert [(item["rank"], item["ideal"]) for item in items] == [(1, "b"), (2, "a"), (3, "c")]

    def test_curves_are_paired_by_x_and_never_by_row(self, calls):
        turned = {name: values[::-1] for name, values in LIBRARY.items()}
        assert calls.a_fit(ideal=turned)["matches"] == calls.a_fit()["matches"]


class TestOptions:
    """Each option does what method.md says; the slow loops of tests/naive.py are the judge."""

    @pytest.mark.parametrize("criterion", ["sse", "mae", "max"])
    @pytest.mark.parametrize("transform", ["none", "offset", "scale", "affine"])
    @pytest.mark.parametrize("top_k", [1, 4])
    def test_criterion_and_transform(self, calls, criterion, transform, top_k):
        check_fit(calls, a_problem(), criterion=criterion, transform=transform, top_k=top_k)

    @pytest.mark.parametrize("transform", ["none", "offset", "scale", "affine"])
    @pytest.mark.parametrize("sign", ["any", "positive"])
    def test_sign(self, calls, transform, sign):
        training, library = a_problem()
        turned = a_table(library.x, *-library.y, names=library.names)
        check_fit(calls, (training, turned), transform=transform, sign=sign, top_k=3)

    @pytest.mark.parametrize("criterion", ["sse", "mae", "max"])
    @pytest.mark.parametrize("min_overlap", [1.0, 0.5])
    def test_gaps_and_min_overlap(self, calls, criterion, min_overlap):
        options = {"criterion": criterion, "min_overlap": min_overlap, "top_k": 12}
        check_fit(calls, a_problem(gaps=True), **options)

    @pytest.mark.parametrize(
        "options",
        [
            {"alignment": "linear", "outside": "omit"},
            {"alignment": "linear", "outside": "omit", "min_overlap": 0.25, "transform": "affine"},
            {"alignment": "exact", "x_tolerance": 0.1001},
            {"alignment": "exact", "x_tolerance": 0.2, "outside": "omit", "top_k": 3},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("gaps", [False, True])
    def test_alignment_and_outside(self, calls, options, gaps):
        check_fit(calls, a_problem(gaps=gaps, shifted=True), **options)

    def test_top_k_gives_as_many_as_there_are(self, calls):
        items = calls.a_fit(top_k=1000)["matches"]["items"]
        assert [item["rank"] for item in items] == [1, 2, 3, 1, 2, 3]

    @pytest.mark.parametrize(
        ("training_curves", "ideal_curves"),
        [(["y3", "y1"], None), (None, ["f9", "f2", "f3"]), (["y2"], ["f8", "f0"])],
    )
    def test_curve_lists_choose_in_the_order_of_the_dataset(
        self, calls, training_curves, ideal_curves
    ):
        """Indices are always those in the dataset."""
        training, library = a_problem()
        lists = {"training_curves": training_curves, "ideal_curves": ideal_curves}
        record = calls.a_fit(columns_of(training), columns_of(library), top_k=12, **lists)
        items = record["matches"]["items"]
        expected = sorted(training_curves or training.names)
        assert [name for name, _ in itertools.groupby(i["training"] for i in items)] == expected
        assert {item["ideal"] for item in items} == set(ideal_curves or library.names)
        for item in items:
            assert training.names[item["training_index"]] == item["training"]
            assert library.names[item["ideal_index"]] == item["ideal"]
        whole = calls.a_fit(columns_of(training), columns_of(library), top_k=12)
        scores = {(i["training"], i["ideal"]): i["score"] for i in whole["matches"]["items"]}
        assert all(scores[item["training"], item["ideal"]] == item["score"] for item in items)


def check_fit(calls, problem, **options):
    """Compare matches with those of the slow loops: to the bit where nothing is transformed."""
    training, library = problem
    record = calls.a_fit(columns_of(training), columns_of(library), **options)
    items = record["matches"]["items"]
    expected = naive.fit(
        training, range(len(training.y)), library, range(len(library.y)), FitOptions(**options)
    )
    assert len(items) == len(expected)
    for item, match in zip(items, expected, strict=True):
        assert item["training"] == training.names[match.training_index]
        assert item["ideal"] == library.names[match.ideal_index]
        for field in ("training_index", "rank", "ideal_index", "n"):
            assert item[field] == getattr(match, field)
        for field in FIGURES:
            tolerance = 0 if options.get("transform", "none") == "none" else 1e-9
            figure = getattr(match, field)
            if figure is not None:
                figure = pytest.approx(figure, rel=tolerance, abs=tolerance)
            assert item[field] == figure
        if not tolerance:
            assert item["warnings"] == list(match.warnings)


GRID = {"x": [0.0, 1.0, 2.0], "f": [1.0, 2.0, 3.0]}


class TestRefused:
    """422 with the place, and nothing stored."""

    OPTIONS = (
        ("criterion", "SSE"),
        ("criterion", None),
        ("transform", "log"),
        ("alignment", "spline"),
        ("outside", True),
        ("x_tolerance", -1e-9),
        ("x_tolerance", "0"),
        ("min_overlap", 0),
        ("min_overlap", 1.0000001),
        ("min_overlap", None),
        ("top_k", 0),
        ("top_k", 1001),
        ("top_k", 1.5),
        ("top_k", "1"),
        ("top_k", True),
        ("name", ""),
        ("name", 7),
        ("training_id", None),
        ("training_id", "nobody"),
        ("training_id", ["a"]),
        ("ideal_id", "nobody"),
        ("ideal_id", ""),
        ("training_curves", []),
        ("ideal_curves", []),
        ("training_curves", "y1"),
        ("ideal_curves", {"f1": 1}),
    )

    @pytest.mark.parametrize(("field", "value"), OPTIONS, ids=repr)
    def test_a_bad_option_is_422_with_its_pointer(self, calls, some, field, value):
        ids = {"training_id": some.dataset["id"], "ideal_id": some.dataset["id"]}
        check_fact(calls.post("/v1/fits", ids | {field: value}), 422, pointer=f"/{field}")

    @pytest.mark.parametrize(
        ("names", "position"),
        [(["nobody"], 0), (["y1", "y1"], 1), (["y1", "y2", "x"], 2), ([7], 0)],
    )
    @pytest.mark.parametrize("field", ["training_curves", "ideal_curves"])
    def test_an_unknown_or_repeated_curve_is_422_with_its_place(
        self, calls, some, field, names, position
    ):
        ids = {"training_id": some.dataset["id"], "ideal_id": some.dataset["id"]}
        reply = calls.post("/v1/fits", ids | {field: names})
        check_fact(reply, 422, pointer=f"/{field}/{position}")

    @pytest.mark.parametrize("role", ["training", "ideal"])
    def test_an_unknown_id_is_422_with_its_pointer(self, calls, some, role):
        ids = {"training_id": some.dataset["id"], "ideal_id": some.dataset["id"]}
        reply = calls.post("/v1/fits", ids | {f"{role}_id": some.fit["id"]})
        check_fact(reply, 422, code="unknown_id", pointer=f"/{role}_id")

    def test_the_training_side_is_checked_before_the_library(self, calls, some):
        body = {"training_id": some.dataset["id"], "ideal_id": "none", "training_curves": ["none"]}
        check_fact(calls.post("/v1/fits", body), 422, pointer="/training_curves/0")

    def test_a_missing_id_is_422(self, calls):
        errors = check_problem(calls.post("/v1/fits", {}), 422)["errors"]
        assert {fact["pointer"] for fact in errors} == {"/training_id", "/ideal_id"}

    def test_a_tolerance_with_linear_alignment_is_422(self, calls, some):
        ids = {"training_id": some.dataset["id"], "ideal_id": some.dataset["id"]}
        body = ids | {"alignment": "linear", "x_tolerance": 0.1}
        check_fact(calls.post("/v1/fits", body), 422, pointer="/x_tolerance")

    CURVES = (
        ("training x twice", {"x": [0, 1, 1], "y": [1, 2, 3]}, GRID, {}, {"row": 2, "column": "x"}),
        ("0.0 and -0.0", {"x": [0.0, -0.0, 1], "y": [1, 2, 3]}, GRID, {}, {"row": 1}),
        ("training without x", {"x": [0, None], "y": [1, 2]}, GRID, {}, {"row": 1, "column": "x"}),
        ("library x twice", GRID, {"x": [1, 0, 1, 2], "f": [1, 2, 3, 4]}, {}, {"row": 2}),
        ("library without x", GRID, {"x": [0, None, 2], "f": [1, 2, 3]}, {}, {"row": 1}),
        (
            "x outside the library",
            {"x": [0, 1.5, 7], "y": [1, 2, 3]},
            GRID,
            {},
            {"row": 1, "column": "x"},
        ),
        (
            "x outside the library, linear",
            {"x": [0, 1.5, 7], "y": [1, 2, 3]},
            GRID,
            {"alignment": "linear"},
            {"row": 2},
        ),
        (
            "no pair",
            {"x": [0, 9], "a": [1, None], "b": [None, 2]},
            GRID,
            {"outside": "omit"},
            {"column": "b"},
        ),
        (
            "a curve of gaps",
            {"x": [0, 1], "a": [1, 2], "b": [None, None]},
            GRID,
            {},
            {"column": "b"},
        ),
        ("no eligible curve", GRID, {"x": [0, 1, 2], "f": [1, None, 3]}, {}, {"column": "f"}),
        (
            "too small an overlap",
            GRID,
            {"x": [0, 1, 2], "f": [1, None, None]},
            {"min_overlap": 0.34},
            {"column": "f"},
        ),
        (
            "a score beyond float64",
            {"x": [0, 1], "y": [1e200, 0]},
            {"x": [0, 1], "f": [0, 0]},
            {},
            {"column": "y"},
        ),
    )

    @pytest.mark.parametrize(
        ("training", "ideal", "options", "expected"),
        [pytest.param(*case[1:], id=case[0]) for case in CURVES],
    )
    def test_curves_that_allow_no_answer_are_422_and_named(
        self, calls, training, ideal, options, expected
    ):
        ids = {
            "training_id": calls.a_dataset(training)["id"],
            "ideal_id": calls.a_dataset(ideal)["id"],
        }
        check_fact(calls.post("/v1/fits", ids | options), 422, **expected)
        assert calls.get("/v1/fits", params=ids).json["items"] == []

    def test_what_only_a_gap_needs_is_not_refused(self, calls):
        """A training row without numbers needs no x of the library."""
        training = {"x": [0.0, 7.0], "y": [1.0, None]}
        assert calls.a_fit(training, GRID)["matches"]["items"][0]["n"] == 1

    def test_a_fit_that_has_ended_cannot_be_cancelled(self, calls, some):
        assert (
            "succeeded"
            in check_problem(calls.post(f"{some.address['fits']}/cancel"), 409)["detail"]
        )


class TestLife:
    """Patch, append, delete."""

    def test_the_name_can_be_changed_and_nothing_else_changes(self, calls):
        fit = calls.a_fit(top_k=2)
        path = f"/v1/fits/{fit['id']}"
        changed = calls.patch(path, {"name": " new "}, etag='"1"').json
        assert changed == fit | {"name": "new", "version": 2}
        check_fact(calls.patch(path, {"criterion": "max"}, etag="*"), 422, pointer="/criterion")
        check_fact(calls.patch(path, {"name": None}, etag="*"), 422, pointer="/name")

    def test_a_fit_keeps_its_curves_when_more_are_appended(self, calls):
        training, library = calls.a_dataset(), calls.a_dataset(LIBRARY)
        fit = calls.a_fit(training["id"], library["id"], top_k=9)
        for dataset in (training, library):
            columns = {"x": CURVES["x"], "y3": CURVES["y1"]}
            path = f"/v1/datasets/{dataset['id']}/curves"
            assert calls.post(path, {"columns": columns}).status == 200
        assert calls.get(f"/v1/fits/{fit['id']}").json == fit
        after = calls.a_fit(training["id"], library["id"], top_k=9)
        assert (after["n_training"], after["n_ideal"]) == (3, 4)
        assert after["ideal_sha256"] != fit["ideal_sha256"]
        assert after["matches"]["items"][0]["ideal"] == "y3"

    def test_a_fit_that_is_used_is_409_and_names_its_users(self, calls):
        mapping = calls.a_mapping()
        path = f"/v1/fits/{mapping['fit_id']}"
        assert mapping["id"] in check_problem(calls.delete(path), 409)["detail"]
        assert calls.delete(f"/v1/mappings/{mapping['id']}").status == 204
        assert calls.delete(path).status == 204
        for rest in ("", "/matches", "/plot"):
            check_problem(calls.get(path + rest), 404)


@pytest.fixture(scope="module")
def many(calls):
    """A fit with 60 curves and all 3 of the library ranked: 180 matches."""
    training = {"x": [0.0, 1.0]} | {f"y{i}": [float(i), 1.0] for i in range(60)}
    library = {"x": [0.0, 1.0], "a": [0.0, 1.0], "b": [30.0, 1.0], "c": [60.0, 1.0]}
    return calls.a_fit(training, library, top_k=3)


class TestMatches:
    """The matches in pages, filtered, as JSON and as CSV."""

    def test_the_record_shows_the_first_hundred(self, calls, many):
        shown = many["matches"]
        assert len(shown["items"]) == 100
        path = f"/v1/fits/{many['id']}/matches"
        rest = calls.get(path, params={"cursor": shown["next"]}).json
        assert rest["next"] is None
        whole = calls.get(path, params={"limit": 500}).json["items"]
        # The attributes of library curves stand in the list only.
        first = [item | {"ideal_attributes": {}} for item in shown["items"]]
        assert first + rest["items"] == whole
        assert len(calls.get(path).json["items"]) == 100
        assert calls.get("/v1/fits", params={"limit": 1}).json["items"][0]["id"]

    def test_they_are_in_the_order_of_training_curve_and_rank(self, calls, many):
        whole = calls.get(f"/v1/fits/{many['id']}/matches", params={"limit": 500}).json["items"]
        places = [(item["training_index"], item["rank"]) for item in whole]
        assert places == [(i, rank) for i in range(60) for rank in (1, 2, 3)]

    @pytest.mark.parametrize(
        ("filters", "count"),
        [
            ({"rank": 1}, 60),
            ({"rank": 4}, 0),
            ({"training": "y7"}, 3),
            ({"training": "y7", "rank": 2}, 1),
            ({"training": "Y7"}, 0),
            ({"training": "nobody"}, 0),
        ],
    )
    @pytest.mark.parametrize("accept", ["application/json", "text/csv"])
    def test_filters(self, calls, many, filters, count, accept):
        path = f"/v1/fits/{many['id']}/matches"
        if accept == "text/csv":
            found = rows_of(calls.get(path, params=filters, headers={"Accept": accept}))
        else:
            found = [item for page in calls.pages(path, limit=50, **filters) for item in page]
        assert len(found) == count
        for item in found:
            assert all(str(item[name]) == str(value) for name, value in filters.items())

    def test_csv_holds_all_and_the_same_bits(self, calls, many):
        path = f"/v1/fits/{many['id']}/matches"
        whole = calls.get(path, params={"limit": 500}).json["items"]
        reply = calls.get(path, headers={"Accept": "text/csv"})
        assert reply.headers["Content-Type"] == "text/csv; charset=utf-8"
        rows = rows_of(reply)
        assert list(rows[0]) == [*MATCH, "ideal_attributes"]
        assert [(row["training"], row["ideal"]) for row in rows] == [
            (item["training"], item["ideal"]) for item in whole
        ]
        for name in ("score", "mae", "scale"):
            assert same_bits([float(row[name]) for row in rows], [item[name] for item in whole])
        for row, item in zip(rows, whole, strict=True):
            assert (row["r2"] == "") == (item["r2"] is None)

    def test_csv_has_pages_too(self, calls, many):
        path, rows = f"/v1/fits/{many['id']}/matches?limit=70", []
        sizes = []
        while path:
            reply = calls.get(path, headers={"Accept": "text/csv"})
            page = rows_of(reply)
            sizes.append(len(page))
            rows += page
            link = reply.headers.get("Link", "<>;").partition(">")[0].removeprefix("<")
            path = link or None
        assert sizes == [70, 70, 40]
        whole = calls.get(f"/v1/fits/{many['id']}/matches", headers={"Accept": "text/csv"})
        assert rows == rows_of(whole)


def rows_of(reply):
    return list(csv.DictReader(io.StringIO(reply.text, newline="")))


class TestEvaluate:
    """The answer of a mapping at once, with nothing stored."""

    OPTIONS = (
        {},
        {"policy": "nearest"},
        {"policy": "first"},
        {"tolerance_factor": 0},
        {"tolerance_factor": 10.5, "policy": "all"},
        {"alignment": "linear"},
        {"alignment": "linear", "policy": "nearest", "tolerance_factor": 3},
        {"x_tolerance": 0.6},
        {"x_tolerance": 0},
        {"alignment": "exact", "x_tolerance": None},
    )

    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    @pytest.mark.parametrize("alignment", ["exact", "linear"])
    def test_it_is_the_mapping_of_the_same_points(self, calls, options, alignment):
        if alignment == "linear" and options.get("x_tolerance") is not None:
            options = options | {"alignment": "exact"}
        fit = calls.a_fit(alignment=alignment, transform="offset")
        x = [0.0, 1.0, 0.5, None, 2.0, 2.0, 9.0, -0.0, 1.4, 1.0]
        y = [1.0, 2.25, 2.0, 1.0, None, 3.5, 0.0, 3.25, 2.5, 2.0]
        answer = calls.post(f"/v1/fits/{fit['id']}/evaluate", {"x": x, "y": y, **options})
        mapping = calls.a_mapping(fit["id"], {"x": x, "y": y}, **options)
        assert answer.status == 200
        assert answer.json.items() <= mapping.items()
        assert {"n_points", "functions", "unmapped_reasons", "points"} <= set(answer.json)

    def test_all_points_come_at_once(self, calls, some):
        body = {"x": [0.0] * 700, "y": [1.0] * 700}
        answer = calls.post(f"{some.address['fits']}/evaluate", body).json
        assert len(answer["points"]["items"]) == 700
        assert answer["points"]["next"] is None

    def test_nothing_is_stored(self, calls, some):
        before = [calls.get(f"/v1/{noun}").json for noun in ("datasets", "mappings")]
        assert calls.post(f"{some.address['fits']}/evaluate", POINTS).status == 200
        assert [calls.get(f"/v1/{noun}").json for noun in ("datasets", "mappings")] == before

    def test_points_without_numbers_are_missing_values(self, calls, some):
        body = {"x": [None, 0.0, None], "y": [1.0, None, None]}
        answer = calls.post(f"{some.address['fits']}/evaluate", body).json
        assert answer["unmapped_reasons"]["missing_value"] == 3
        item = answer["points"]["items"][0]
        assert (item["x"], item["y"], item["reason"]) == (None, 1.0, "missing_value")

    @pytest.mark.parametrize(
        ("change", "pointer"),
        [
            ({"x": [1]}, "/y"),
            ({"x": [], "y": []}, "/y"),
            ({"x": None}, "/x"),
            ({"y": 1}, "/y"),
            ({"y": [1, "a"]}, "/y/1"),
            ({"policy": "best"}, "/policy"),
            ({"tolerance_factor": -0.1}, "/tolerance_factor"),
            ({"tolerance_factor": "1"}, "/tolerance_factor"),
            ({"alignment": "cubic"}, "/alignment"),
            ({"x_tolerance": -1}, "/x_tolerance"),
            ({"alignment": "linear", "x_tolerance": 1}, "/x_tolerance"),
        ],
    )
    def test_what_does_not_fit_is_422_with_its_pointer(self, calls, some, change, pointer):
        body = {"x": [1, 2], "y": [1, 2]} | change
        check_fact(calls.post(f"{some.address['fits']}/evaluate", body), 422, pointer=pointer)


SEED = Path(__file__).parents[3] / "shared/data/seed"
EXAMPLES = Path(__file__).parents[2] / "api/examples"


def posted(calls, folder):
    """Ids of the three files of a folder."""
    names = ("training", "ideal", "test")
    return {
        n: calls.a_csv((folder / f"{n}.csv").read_bytes(), {"name": n}).json["id"] for n in names
    }


def test_the_example_files_are_fitted_to_the_curves_they_came_from(calls):
    ids = posted(calls, EXAMPLES)
    items = calls.a_fit(ids["training"], ids["ideal"])["matches"]["items"]
    chosen = {item["training"]: item["ideal"] for item in items}
    assert chosen == {"y1": "y4", "y2": "y18", "y3": "y29", "y4": "y42"}
    assert [item["n"] for item in items] == [400] * 4
    sse = [item["sse"] for item in items]
    assert sse == pytest.approx([11.776177, 11.639222, 12.943527, 11.871891], abs=1e-6)


@pytest.mark.skipif(not SEED.is_dir(), reason="the seed data lies outside the repository")
def test_the_seed_files_give_the_known_figures(calls):
    ids = posted(calls, SEED)
    items = calls.a_fit(ids["training"], ids["ideal"])["matches"]["items"]
    chosen = {item["training"]: item["ideal"] for item in items}
    assert chosen == {"Y1": "Y42", "Y2": "Y41", "Y3": "Y11", "Y4": "Y48"}
    sse = [item["sse"] for item in items]
    assert sse == pytest.approx([34.2466, 35.6018, 29.8618, 31.9634], abs=5e-5)


def test_no_zero_of_a_record_or_match_has_a_sign(app):
    calls = over_wsgi(app)
    zeros = {"x": [-0.0, 1.0], "y": [-0.0, -0.0]}
    training = calls.post("/v1/datasets", {"name": "zeros", "columns": zeros})
    library = calls.post(
        "/v1/datasets", {"name": "ones", "columns": {"x": [0.0, 1.0], "f": [1, 1]}}
    )
    fit = calls.post(
        "/v1/fits",
        {
            "training_id": training.json["id"],
            "ideal_id": library.json["id"],
            "transform": "scale",
            "x_tolerance": -0.0,
        },
    )
    mapping = calls.post(
        "/v1/mappings",
        {"fit_id": fit.json["id"], "test_id": training.json["id"], "tolerance_factor": -0.0},
    )
    dataset = f"/v1/datasets/{training.json['id']}"
    replies = [training, fit, calls.get(dataset), calls.get(f"{dataset}/curves")]
    replies += [
        calls.get(f"/v1/fits/{fit.json['id']}"),
        calls.get(f"/v1/mappings/{mapping.json['id']}"),
    ]
    for reply in replies[:-1]:
        assert b"-0.0" not in reply.body
    # The values of curves and points keep their signs.
    assert b"-0.0" in calls.get(f"{dataset}/values").body
    assert '"tolerance_factor":0.0' in replies[-1].text
    assert '"x":-0.0' in replies[-1].text
