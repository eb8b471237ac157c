"""Behaviour that depends on the database is the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import base64
import json
import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest
from sqlalchemy import delete

from api.jobs.functions import FRESH_SECONDS
from api.running import running
from api.store.fits import Fit, FitMatch
from tests.calls import (
    CURVES,
    LIBRARY,
    POINTS,
    check_fact,
    check_problem,
    next_link,
    over_wsgi,
    same_bits,
    some_doubles,
)

NAMES = ["a", "B", "ä", "a", "A", "b", "a", "é", "aa", "a b", "_", "~", "￼", "😀", "Ä", "a%", "a_"]
NOUNS = ["datasets", "fits", "mappings"]


@pytest.fixture
def calls(app):
    """Calls of the application on the database in turn."""
    return over_wsgi(app)


def at_once(count, call):
    """Results of call(0), call(1), ... started together, in the order of the numbers."""
    results, barrier = [None] * count, threading.Barrier(count)

    def run(i):
        barrier.wait()
        results[i] = call(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def a_record(calls, noun):
    make = {"datasets": calls.a_dataset, "fits": calls.a_fit, "mappings": calls.a_mapping}
    return make[noun]()


class TestSorting:
    """Lists are in one order, whatever the page, and the same on every database."""

    @pytest.mark.parametrize("down", [False, True])
    @pytest.mark.parametrize(
        "limit", [1, *(pytest.param(n, marks=pytest.mark.thorough) for n in (2, 3)), 16, 500]
    )
    def test_names_sort_by_code_point_and_equal_ones_keep_one_order(self, calls, down, limit):
        made = [calls.a_dataset(name=name) for name in NAMES]
        expected = sorted(made, key=lambda record: (record["name"], record["id"]), reverse=down)
        sort = "-name" if down else "name"
        pages = list(calls.pages("/v1/datasets", sort=sort, limit=limit))
        assert [record for page in pages for record in page] == expected
        assert len(pages) == -(-len(NAMES) // limit)

    @pytest.mark.parametrize("noun", NOUNS)
    def test_the_newest_come_first_unless_asked_otherwise(self, calls, noun):
        made = [a_record(calls, noun)["id"] for _ in range(5)]
        for params, expected in (
            ({}, made[::-1]),
            ({"sort": "-created_at"}, made[::-1]),
            ({"sort": "created_at"}, made),
        ):
            pages = calls.pages(f"/v1/{noun}", limit=2, **params)
            assert [record["id"] for page in pages for record in page] == expected

    def test_records_of_one_moment_are_each_listed_once(self, calls, monkeypatch):
        """Their ids decide; a cursor between them splits none and repeats none."""
        moment = datetime.now(UTC)
        monkeypatch.setattr("api.store.datasets.now", lambda: moment)
        made = sorted(calls.a_dataset()["id"] for _ in range(7))
        for sort, expected in (("created_at", made), ("-created_at", made[::-1])):
            pages = calls.pages("/v1/datasets", sort=sort, limit=2)
            assert [record["id"] for page in pages for record in page] == expected

    @pytest.mark.parametrize("sort", ["name", "-created_at"])
    def test_a_cursor_outlives_the_record_it_stands_on(self, calls, sort):
        made = [calls.a_dataset(name=name)["id"] for name in "abcdef"]
        expected = made if sort == "name" else made[::-1]
        reply = calls.get("/v1/datasets", params={"sort": sort, "limit": 2})
        first = [record["id"] for record in reply.json["items"]]
        assert calls.delete(f"/v1/datasets/{first[-1]}").status == 204
        calls.a_dataset(name="0")
        rest = [record["id"] for page in calls.pages(next_link(reply)) for record in page]
        assert first + rest == expected

    @pytest.mark.parametrize("sort", ["name", "created_at"])
    def test_a_cursor_that_is_far_off_is_no_error(self, calls, sort):
        """The ends of what both databases can compare."""
        calls.a_dataset()
        ends = {
            "name": ["\U0010ffff" * 200, "￿"],
            "created_at": ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"],
        }[sort]
        for key in ends:
            cursor = base64.urlsafe_b64encode(json.dumps([key, "z"]).encode()).decode()
            params = {"sort": sort, "cursor": cursor}
            assert calls.get("/v1/datasets", params=params).status in (200, 422)


class TestFilters:
    """Filters are exact and can be combined."""

    @pytest.mark.parametrize("noun", NOUNS)
    def test_a_name_is_exact(self, calls, noun):
        record = a_record(calls, noun)
        path = f"/v1/{noun}/{record['id']}"
        calls.patch(path, {"name": "a%"}, etag="*")
        for name, count in (("a%", 1), ("A%", 0), ("a_", 0), ("a", 0), ("%", 0), ("", 0)):
            found = calls.get(f"/v1/{noun}", params={"name": name}).json["items"]
            assert len(found) == count

    def test_fits_are_found_by_their_datasets_and_state(self, calls):
        one, two = calls.a_dataset(), calls.a_dataset()
        fits = {
            (training["id"], ideal["id"]): calls.a_fit(training["id"], ideal["id"])["id"]
            for training in (one, two)
            for ideal in (one, two)
        }
        for (training, ideal), fit in fits.items():
            both = {"training_id": training, "ideal_id": ideal}
            assert ids(calls.get("/v1/fits", params=both)) == [fit]
            found = ids(calls.get("/v1/fits", params={"training_id": training}))
            assert sorted(found) == sorted(v for k, v in fits.items() if k[0] == training)
            assert ids(calls.get("/v1/fits", params=both | {"state": "failed"})) == []
            assert ids(calls.get("/v1/fits", params=both | {"state": "succeeded"})) == [fit]
        assert ids(calls.get("/v1/fits", params={"ideal_id": "nobody"})) == []

    def test_mappings_are_found_by_fit_test_and_state(self, calls):
        fits = [calls.a_fit()["id"] for _ in range(2)]
        tests = [calls.a_dataset(POINTS)["id"] for _ in range(2)]
        made = {(f, t): calls.a_mapping(f, t)["id"] for f in fits for t in tests}
        for (fit, test), mapping in made.items():
            both = {"fit_id": fit, "test_id": test}
            assert ids(calls.get("/v1/mappings", params=both)) == [mapping]
            found = ids(calls.get("/v1/mappings", params={"test_id": test}))
            assert sorted(found) == sorted(v for k, v in made.items() if k[1] == test)
            assert ids(calls.get("/v1/mappings", params=both | {"state": "queued"})) == []

    def test_a_filter_holds_on_every_page(self, calls):
        wanted = []
        for _ in range(5):
            wanted.append(calls.a_dataset(name="wanted")["id"])
            calls.a_dataset(name="other")
        pages = calls.pages("/v1/datasets", name="wanted", limit=2)
        assert [record["id"] for page in pages for record in page] == wanted[::-1]


def ids(reply):
    return [record["id"] for record in reply.json["items"]]


class TestValues:
    """Float64 in, the same float64 out."""

    def test_ten_thousand_doubles_keep_their_bits(self, calls):
        x, y = some_doubles(10_000), some_doubles(10_000, seed=2)
        record = calls.a_dataset({"x": x, "y": y})
        found = calls.values(record["id"])
        assert same_bits(found["x"], x)
        assert same_bits(found["y"], y)
        csv = "\n".join(["x,y", *(f"{a!r},{b!r}" for a, b in zip(x, y, strict=True))])
        assert calls.a_csv(csv).json["sha256"] == record["sha256"]

    def test_the_extremes_of_a_record_keep_their_bits(self, calls):
        columns = {"x": [1.7976931348623157e308, -5e-324], "y": [-0.0, 5e-324]}
        record = calls.a_dataset(columns)
        found = calls.get(f"/v1/datasets/{record['id']}").json
        assert same_bits([found["x_min"], found["x_max"]], [-5e-324, 1.7976931348623157e308])
        (curve,) = calls.get(f"/v1/datasets/{record['id']}/curves").json["items"]
        assert same_bits([curve["y_max"]], [5e-324])

    def test_gaps_stay_where_they_are(self, calls):
        columns = {"x": [None, 1.0, None], "y": [1.0, None, 2.0], "z": [None, None, None]}
        record = calls.a_dataset(columns)
        assert calls.values(record["id"]) == columns
        assert record["n_gaps"] == 4

    def test_blocks_do_not_show(self, calls, monkeypatch):
        """Curves and rows at, before and behind the border of a stored block."""
        monkeypatch.setattr("api.store.blocks.BLOCK_BYTES", 8 * 5 * 3)
        random = np.random.default_rng(4)
        columns = {"x": list(map(float, range(5)))}
        columns |= {f"c{i}": random.random(5).tolist() for i in range(16)}
        first = dict(list(columns.items())[:9])
        record = calls.a_dataset(first)
        more = {"x": columns["x"]} | dict(list(columns.items())[9:])
        path = f"/v1/datasets/{record['id']}"
        after = calls.post(f"{path}/curves", {"columns": more}).json
        assert after["sha256"] == calls.a_dataset(columns)["sha256"]
        assert calls.values(record["id"]) == columns
        for names in (["c2", "c3"], ["c15", "c0", "x"], [f"c{i}" for i in range(11, 2, -1)]):
            expected = {name: columns[name][1:4] for name in names}
            params = [("columns", name) for name in names] + [("start", 1), ("count", 3)]
            found = calls.get(f"{path}/values", params=params).json["columns"]
            assert list(found.items()) == list(expected.items())

    def test_a_fit_gives_the_same_bits_on_every_database(self, calls):
        random = np.random.default_rng(5)
        x = random.permutation(100).astype(float)
        training, library = random.random((3, 100)), random.random((40, 100))
        training_id = calls.a_dataset({"x": x.tolist()} | named("y", training))["id"]
        ideal_id = calls.a_dataset({"x": x.tolist()} | named("f", library))["id"]
        matches = calls.a_fit(training_id, ideal_id, top_k=5)["matches"]["items"]
        for match in matches:
            r = training[match["training_index"]] - library[match["ideal_index"]]
            assert match["sse"] == float(np.sum(r**2))
            assert match["max_deviation"] == float(np.max(np.abs(r)))


def named(letter, curves):
    return {f"{letter}{i}": curve.tolist() for i, curve in enumerate(curves)}


class TestPoints:
    """The items of a mapping, in pages that blocks do not show."""

    def test_pages_and_filters_pass_the_borders_of_blocks(self, calls, monkeypatch):
        monkeypatch.setattr("api.store.mappings.BLOCK_ITEMS", 7)
        y = [[1.0, 3.0, 0.0, None][i % 4] for i in range(40)]
        test = {"x": [float(i % 4) for i in range(40)], "y": y}
        mapping = calls.a_mapping(calls.a_fit()["id"], test, tolerance_factor=3.0)
        path = f"/v1/mappings/{mapping['id']}/points"
        whole = [item for page in calls.pages(path, limit=500) for item in page]
        assert len(whole) == mapping["n_assignments"] + mapping["unmapped_points"]
        tests = {
            "status=mapped": lambda item: item["reason"] is None,
            "status=unmapped": lambda item: item["reason"] is not None,
            "training=y2": lambda item: item["training"] == "y2",
            "ideal=f1": lambda item: item["ideal"] == "f1",
            "ideal=f1&training=y2": lambda item: (item["ideal"], item["training"]) == ("f1", "y2"),
            "status=unmapped&ideal=f1": lambda item: item["reason"] and item["ideal"] == "f1",
        }
        for query, keep in tests.items():
            expected = [item for item in whole if keep(item)]
            for limit in (1, 3, 7, 8):
                pages = calls.pages(f"{path}?{query}&limit={limit}")
                assert [item for page in pages for item in page] == expected

    def test_a_record_shows_the_first_hundred_of_many(self, calls):
        test = {"x": [float(i % 3) for i in range(300)], "y": [1.0] * 300}
        mapping = calls.a_mapping(calls.a_fit()["id"], test)
        shown = mapping["points"]
        assert (len(shown["items"]), bool(shown["next"])) == (100, True)
        path = f"/v1/mappings/{mapping['id']}/points"
        rest = calls.get(path, params={"cursor": shown["next"], "limit": 500}).json
        whole = calls.get(path, params={"limit": 500}).json
        assert shown["items"] + rest["items"] == whole["items"]


class TestText:
    """NUL is refused before a database sees it, all other text is kept."""

    @pytest.mark.parametrize("text", ["\0", "a\0b", "\0" * 3])
    def test_nul_is_refused_wherever_text_goes(self, calls, text):
        record = calls.a_dataset()
        path = f"/v1/datasets/{record['id']}"
        body = {"name": "a", "columns": CURVES}
        for field, value in (("name", text), ("description", text), ("attributes", {"a": text})):
            check_fact(calls.post("/v1/datasets", body | {field: value}), 422, pointer=f"/{field}")
            check_fact(calls.patch(path, {field: value}, etag="*"), 422, pointer=f"/{field}")
        check_fact(calls.patch(path, {"attributes": {text: 1}}, etag="*"), 422)
        check_fact(calls.post("/v1/datasets", body | {"columns": {"x": [1], text: [1]}}), 422)
        fit = {"training_id": record["id"], "ideal_id": record["id"]}
        check_fact(calls.post("/v1/fits", fit | {"training_curves": [text]}), 422)
        check_fact(calls.post("/v1/fits", fit | {"name": text}), 422, pointer="/name")
        check_fact(calls.post("/v1/fits", fit | {"ideal_id": text}), 422, pointer="/ideal_id")
        for path in ("/v1/datasets", "/v1/fits", "/v1/mappings"):
            check_fact(calls.get(path, params={"name": text}), 422, parameter="name")

    @pytest.mark.parametrize("noun", NOUNS)
    @pytest.mark.parametrize("identifier", ["%00", "a%00b", "%FF", "a" * 1000, "%F0%9F%98%80", "'"])
    @pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
    def test_an_id_that_no_record_has_is_404(self, calls, noun, identifier, method):
        body = {"name": "a"} if method == "PATCH" else None
        path = f"/v1/{noun}/{identifier}"
        check_problem(calls(method, path, json_body=body, headers={"If-Match": "*"}), 404)

    @pytest.mark.parametrize(
        "text", ["ä€😀", "'; DROP TABLE datasets; --", "\\x00 \\u0000", "a\nb\t"]
    )
    def test_other_text_is_kept(self, calls, text):
        attributes = {text: [text, {text: None}]}
        record = calls.a_dataset(name=text, description=text, attributes=attributes)
        found = calls.get(f"/v1/datasets/{record['id']}").json
        assert (found["name"], found["description"]) == (text.strip(), text)
        assert found["attributes"] == attributes
        assert ids(calls.get("/v1/datasets", params={"name": text.strip()})) == [record["id"]]

    def test_numbers_in_attributes_are_kept(self, calls):
        attributes = {"i": [0, -1, 2**53, -(2**63)], "f": [0.1, 5e-324, 1.7976931348623157e308]}
        record = calls.a_dataset(attributes=attributes)
        assert calls.get(f"/v1/datasets/{record['id']}").json["attributes"] == attributes

    def test_an_integer_that_64_bits_cannot_hold_is_kept_as_float64(self, calls):
        """Also where escapes make the body go another way through the parser."""
        for extra in ({}, {"quote": '"'}):
            record = calls.a_dataset(attributes={"big": 10**30, **extra})
            assert record["attributes"]["big"] == 1e30


class TestPatch:
    """A merge patch changes what it names and nothing else."""

    def test_it_merges_and_is_stored(self, calls):
        attributes = {"a": {"b": 1, "c": [1]}, "d": None}
        path = f"/v1/datasets/{calls.a_dataset(attributes=attributes)['id']}"
        reply = calls.patch(path, {"attributes": {"a": {"b": None, "e": 2}}}, etag="*")
        assert reply.json["attributes"]["a"] == {"c": [1], "e": 2}
        assert calls.get(path).json == reply.json
        assert reply.etag == calls.get(path).etag

    @pytest.mark.parametrize("noun", NOUNS)
    def test_six_changes_of_one_version_are_one_change(self, calls, noun):
        path = f"/v1/{noun}/{a_record(calls, noun)['id']}"
        for _ in range(10):
            etag = calls.get(path).etag
            replies = at_once(
                6, lambda i, etag=etag: calls.patch(path, {"name": f"{etag} {i}"}, etag=etag)
            )
            assert sorted(reply.status for reply in replies) == [200] + 5 * [412]
            (winner,) = (reply for reply in replies if reply.status == 200)
            assert calls.get(path).json == winner.json
            for reply in replies:
                assert reply.status == 200 or check_problem(reply, 412)


class TestDelete:
    """A record in use stays; a record that goes takes all it holds along."""

    def test_a_second_delete_finds_nothing(self, calls):
        mapping = calls.a_mapping()
        fit = calls.get(f"/v1/fits/{mapping['fit_id']}").json
        for path in (
            f"/v1/mappings/{mapping['id']}",
            f"/v1/fits/{fit['id']}",
            f"/v1/datasets/{fit['training_id']}",
            f"/v1/datasets/{fit['ideal_id']}",
            f"/v1/datasets/{mapping['test_id']}",
        ):
            assert calls.delete(path).status == 204
            check_problem(calls.delete(path), 404)
            check_problem(calls.get(path), 404)
        assert [ids(calls.get(f"/v1/{noun}")) for noun in NOUNS] == [[], [], []]

    def test_a_used_record_is_409_and_names_its_users(self, calls):
        mapping = calls.a_mapping()
        fit = calls.get(f"/v1/fits/{mapping['fit_id']}").json
        for path, user in (
            (f"/v1/fits/{fit['id']}", mapping),
            (f"/v1/datasets/{fit['training_id']}", fit),
            (f"/v1/datasets/{fit['ideal_id']}", fit),
            (f"/v1/datasets/{mapping['test_id']}", mapping),
        ):
            assert user["id"] in check_problem(calls.delete(path), 409)["detail"]
            assert calls.get(path).status == 200

    def test_of_six_deletes_one_finds_the_record(self, calls):
        for _ in range(3):
            path = f"/v1/datasets/{calls.a_dataset()['id']}"
            statuses = [
                reply.status for reply in at_once(6, lambda _, path=path: calls.delete(path))
            ]
            assert statuses.count(204) == 1
            assert set(statuses) <= {204, 404, 412}
            check_problem(calls.get(path), 404)

    def test_a_dataset_is_deleted_or_fitted_but_not_both(self, calls):
        for _ in range(5):
            training, ideal = calls.a_dataset()["id"], calls.a_dataset(LIBRARY)["id"]
            body = {"training_id": training, "ideal_id": ideal}

            def act(i, body=body, ideal=ideal):
                if i:
                    return calls.delete(f"/v1/datasets/{ideal}")
                return calls.post("/v1/fits", body)

            fitted, deleted = at_once(2, act)
            assert (fitted.status, deleted.status) in [(201, 409), (409, 204), (422, 204)]
            found = ids(calls.get("/v1/fits", params={"ideal_id": ideal}))
            assert len(found) == (fitted.status == 201)


class TestAppending:
    """Curves are appended whole and in turn."""

    def test_batches_at_the_same_time_are_all_appended(self, calls):
        """No client asked for a version, so none must lose."""
        record = calls.a_dataset()
        path = f"/v1/datasets/{record['id']}"
        batches = [
            {"x": CURVES["x"]} | {f"b{i}_{j}": [i, j, None] for j in range(3)} for i in range(6)
        ]
        replies = at_once(6, lambda i: calls.post(f"{path}/curves", {"columns": batches[i]}))
        assert [reply.status for reply in replies] == [200] * 6
        curves = calls.get(f"{path}/curves").json["items"]
        assert [curve["index"] for curve in curves] == list(range(20))
        names = [curve["name"] for curve in curves]
        assert names[:2] == ["y1", "y2"]
        together = [names[i].partition("_")[0] for i in range(2, 20)]
        assert together == [b for i in range(0, 18, 3) for b in [together[i]] * 3]
        for batch in batches:
            assert calls.values(record["id"], *batch) == {
                name: [None if v is None else float(v) for v in column]
                for name, column in batch.items()
            }
        found = calls.get(path).json
        assert (found["n_curves"], found["n_gaps"]) == (20, 18)
        assert found["sha256"] == calls.a_dataset(calls.values(record["id"]))["sha256"]

    def test_of_six_batches_for_one_version_one_is_appended(self, calls):
        record = calls.a_dataset()
        path = f"/v1/datasets/{record['id']}"

        def append(i):
            body = {"columns": {"x": CURVES["x"], f"b{i}": [1, 2, 3]}}
            return calls.post(f"{path}/curves", body, headers={"If-Match": '"1"'})

        assert sorted(reply.status for reply in at_once(6, append)) == [200] + 5 * [412]
        assert calls.get(path).json["n_curves"] == 3

    def test_of_six_equal_batches_one_is_appended(self, calls):
        record = calls.a_dataset()
        path = f"/v1/datasets/{record['id']}"
        body = {"columns": {"x": CURVES["x"], "y3": [1, 2, 3]}}
        replies = at_once(6, lambda _: calls.post(f"{path}/curves", body))
        assert sorted(reply.status for reply in replies) == [200] + 5 * [422]
        assert calls.get(path).json["n_curves"] == 3

    def test_a_batch_that_does_not_fit_leaves_nothing(self, calls):
        record = calls.a_dataset()
        path = f"/v1/datasets/{record['id']}"
        columns = {"x": CURVES["x"], "new": [1, 2, 3], "y2": [1, 2, 3]}
        check_fact(calls.post(f"{path}/curves", {"columns": columns}), 422, column="y2")
        assert calls.get(path).json == record
        assert calls.values(record["id"]) == CURVES

    def test_fits_and_mappings_keep_the_curves_they_were_made_with(self, calls):
        library = calls.a_dataset(LIBRARY)
        fit = calls.a_fit(ideal=library["id"])
        mapping = calls.a_mapping(fit["id"])
        perfect = {"x": LIBRARY["x"], "perfect": CURVES["y1"]}
        assert (
            calls.post(f"/v1/datasets/{library['id']}/curves", {"columns": perfect}).status == 200
        )
        assert calls.get(f"/v1/fits/{fit['id']}").json == fit
        assert calls.get(f"/v1/mappings/{mapping['id']}").json == mapping
        again = calls.a_mapping(fit["id"], mapping["test_id"])
        for field in ("functions", "points", "n_assignments", "unmapped_reasons"):
            assert again[field] == mapping[field]
        assert calls.a_fit(ideal=library["id"])["matches"]["items"][0]["ideal"] == "perfect"


class TestNotSucceeded:
    """A fit that has not succeeded has no functions and no matches."""

    @pytest.fixture(params=["queued", "running", "failed", "cancelled"])
    def fit(self, request, app, calls):
        """Path of a fit in each of the states."""
        record = calls.a_fit()
        with running(app).database.writing() as session:
            stored = session.get(Fit, record["id"])
            stored.state = request.param
            stored.started_at = stored.finished_at = None
            session.execute(delete(FitMatch).where(FitMatch.fit_id == record["id"]))
        return f"/v1/fits/{record['id']}"

    def test_mapping_evaluating_and_plotting_it_is_409(self, calls, fit):
        state = calls.get(fit).json["state"]
        body = {"fit_id": fit.rpartition("/")[2], "test_id": calls.a_dataset(POINTS)["id"]}
        for reply in (
            calls.post("/v1/mappings", body),
            calls.post(f"{fit}/evaluate", POINTS),
            calls.get(f"{fit}/plot"),
        ):
            assert state in check_problem(reply, 409)["detail"]

    def test_its_matches_are_an_empty_list(self, calls, fit):
        empty = {"items": [], "next": None}
        assert calls.get(f"{fit}/matches").json == empty
        record = calls.get(fit).json
        assert record["matches"] == empty
        assert (record["started_at"], record["finished_at"]) == (None, None)

    def test_it_is_found_by_its_state(self, calls, fit):
        record = calls.get(fit).json
        assert ids(calls.get("/v1/fits", params={"state": record["state"]})) == [record["id"]]
        assert ids(calls.get("/v1/fits", params={"state": "succeeded"})) == []

    def test_it_can_be_renamed_and_deleted(self, calls, fit):
        assert calls.patch(fit, {"name": "new"}, etag=calls.get(fit).etag).status == 200
        assert calls.delete(fit).status == 204


class TestEvaluate:
    """What one process remembers of a fit is never out of date."""

    def test_a_hot_fit_answers_the_same(self, calls):
        path = f"/v1/fits/{calls.a_fit()['id']}/evaluate"
        first = calls.post(path, POINTS).json
        assert [calls.post(path, POINTS).json for _ in range(3)] == [first] * 3
        other = calls.post(path, POINTS | {"policy": "first", "tolerance_factor": 0}).json
        assert other["n_assignments"] < first["n_assignments"]

    def test_a_deleted_fit_is_soon_404(self, calls):
        """Not at once: a process asks for a hot fit again after half a second."""
        path = f"/v1/fits/{calls.a_fit()['id']}"
        assert calls.post(f"{path}/evaluate", POINTS).status == 200
        assert calls.delete(path).status == 204
        time.sleep(FRESH_SECONDS)
        check_problem(calls.post(f"{path}/evaluate", POINTS), 404)

    def test_a_deleted_fit_is_404_at_once(self, calls):
        path = f"/v1/fits/{calls.a_fit()['id']}"
        assert calls.post(f"{path}/evaluate", POINTS).status == 200
        assert calls.delete(path).status == 204
        check_problem(calls.post(f"{path}/evaluate", POINTS), 404)
