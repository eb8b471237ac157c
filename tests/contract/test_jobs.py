"""Fits and mappings as jobs, over real HTTP, done by the workers of the running service."""

from __future__ import annotations

import time
from datetime import datetime

import numpy as np
import pytest

from tests.calls import CURVES, LIBRARY, POINTS, check_fact, check_problem
from tests.waiting import until

LATER = {"Prefer": "respond-async"}
ENDED = {"succeeded", "failed", "cancelled"}


@pytest.fixture(scope="module")
def noise(calls):
    """Body of a fit that takes half a minute: no bound tells such curves apart."""

    def some(seed):
        values = np.random.default_rng(seed).integers(0, 100, (3000, 300))
        header = ",".join(["x", *(f"y{i}" for i in range(len(values)))])
        rows = [",".join(map(str, [x, *column])) for x, column in enumerate(values.T.tolist())]
        reply = calls.a_csv("\n".join([header, *rows]))
        assert reply.status == 201, reply.text
        return reply.json["id"]

    ids = {"training_id": some(1), "ideal_id": some(2)}
    return ids | {"criterion": "mae", "transform": "affine"}


@pytest.fixture
def long_fit(calls, noise):
    """Address of a fit that a worker works on."""
    reply = calls.post("/v1/fits", noise)
    assert reply.status == 202, reply.text
    address = reply.headers["Location"]
    reply_when(calls, address, lambda record: record["state"] == "running")
    yield address
    calls.delete(address)


@pytest.fixture
def pair(calls):
    """A request for a small fit."""
    return {"training_id": calls.a_dataset()["id"], "ideal_id": calls.a_dataset(LIBRARY)["id"]}


def reply_when(calls, address, reached):
    """The reply of a record as soon as it is as wanted."""

    def found():
        reply = calls.get(address)
        return reply if reached(reply.json) else None

    return until(found)


def ended(record):
    return record["state"] in ENDED


def check_accepted(reply):
    """The reply of a POST that queued a job; its address."""
    assert reply.status == 202, reply.text
    record = reply.json
    assert record["state"] in ("queued", "running")
    assert record["error"] is None
    assert record["finished_at"] is None
    assert int(reply.headers["Retry-After"]) >= 1
    assert reply.headers["Location"].endswith(record["id"])
    assert reply.headers["ETag"] == f'"{record["version"]}"'
    return reply.headers["Location"]


class TestPrefer:
    """What a client prefers of doing it now or later."""

    def test_small_work_is_done_in_the_request(self, calls, pair):
        reply = calls.post("/v1/fits", pair)
        assert (reply.status, reply.json["state"]) == (201, "succeeded")
        assert "Preference-Applied" not in reply.headers
        assert "Retry-After" not in reply.headers

    def test_respond_async_queues_even_small_work(self, calls, pair):
        reply = calls.post("/v1/fits", pair, headers=LATER)
        address = check_accepted(reply)
        assert reply.headers["Preference-Applied"] == "respond-async"
        assert reply.json["progress"] == {"done": 0, "total": 3}
        assert reply.json["matches"] == {"items": [], "next": None}
        record = reply_when(calls, address, ended).json
        assert record["state"] == "succeeded"
        assert record["progress"] == {"done": 3, "total": 3}
        assert [match["ideal"] for match in record["matches"]["items"]] == ["f1", "f2"]
        times = [record[name] for name in ("created_at", "started_at", "finished_at")]
        assert times == sorted(times, key=datetime.fromisoformat)

    def test_a_mapping_is_queued_as_well(self, calls):
        fit, test = calls.a_fit(), calls.a_dataset(POINTS)
        body = {"fit_id": fit["id"], "test_id": test["id"]}
        reply = calls.post("/v1/mappings", body, headers=LATER)
        address = check_accepted(reply)
        assert reply.json["points"] == {"items": [], "next": None}
        assert reply.json["n_points"] == 4
        assert reply.json["n_assignments"] == 0
        record = reply_when(calls, address, ended).json
        assert record["state"] == "succeeded"
        now = calls.made("/v1/mappings", body)
        for name in ("points", "functions", "unmapped_reasons", "mapped_points", "progress"):
            assert record[name] == now[name]

    def test_wait_waits_for_the_end(self, calls, pair):
        prefer = {"Prefer": "respond-async, wait=20"}
        reply = calls.post("/v1/fits", pair, headers=prefer)
        assert (reply.status, reply.json["state"]) == (201, "succeeded")
        assert reply.headers["Preference-Applied"] == "wait=20"

    def test_wait_ends_when_its_time_is_over(self, calls, noise):
        body = noise
        start = time.monotonic()
        reply = calls.post("/v1/fits", body, headers={"Prefer": "wait=1"})
        address = check_accepted(reply)
        assert reply.headers["Preference-Applied"] == "wait=1"
        assert time.monotonic() - start > 1
        assert calls.delete(address).status == 204

    @pytest.mark.parametrize(
        "prefer",
        [
            *("wait=soon", "wait=-1", "wait", "handling=strict", ";,=,"),
            *('foo="a, wait=5"', 'handling="a;b, respond-async, c"', 'foo="a\\", wait=5'),
        ],
    )
    def test_what_is_not_known_is_passed_over(self, calls, pair, prefer):
        reply = calls.post("/v1/fits", pair, headers={"Prefer": prefer})
        assert reply.status == 201
        assert "Preference-Applied" not in reply.headers

    def test_an_error_found_while_waiting_is_the_reply_and_leaves_nothing(self, calls):
        gaps = {"x": CURVES["x"], "f1": [1.0, None, None]}
        body = {"training_id": calls.a_dataset()["id"], "ideal_id": calls.a_dataset(gaps)["id"]}
        now = check_problem(calls.post("/v1/fits", body), 422)
        reply = calls.post("/v1/fits", body, headers={"Prefer": "respond-async, wait=20"})
        later = check_problem(reply, 422)
        assert later | {"request_id": ""} == now | {"request_id": ""}
        fits = calls.get("/v1/fits", params={"training_id": body["training_id"]}).json["items"]
        assert fits == []


class TestRefused:
    """What ids, names and grids show is said before anything is accepted."""

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"ideal_id": "nobody"}, {"pointer": "/ideal_id", "code": "unknown_id"}),
            ({"ideal_curves": ["f9"]}, {"pointer": "/ideal_curves/0", "code": "unknown_curve"}),
            ({"alignment": "linear", "x_tolerance": 1.0}, {"pointer": "/x_tolerance"}),
            ({"training_curves": []}, {"pointer": "/training_curves"}),
        ],
    )
    def test_ids_names_and_options(self, calls, pair, change, expected):
        reply = calls.post("/v1/fits", pair | change, headers=LATER)
        check_fact(reply, 422, **expected)

    @pytest.mark.parametrize(
        ("training", "options", "code"),
        [
            ({"x": [0.0, 1.0, 9.0], "y1": [1.0, 2.0, 3.0]}, {}, "x_not_covered"),
            ({"x": [7.0, 8.0], "y1": [1.0, 2.0]}, {"outside": "omit"}, "no_pair"),
            ({"x": [7.0, 8.0], "y1": [1.0, None]}, {"outside": "omit"}, "no_pair"),
            ({"x": [0.0, 0.0], "y1": [1.0, 2.0]}, {}, "repeated_x"),
        ],
    )
    def test_grids(self, calls, training, options, code):
        body = {
            "training_id": calls.a_dataset(training)["id"],
            "ideal_id": calls.a_dataset(LIBRARY)["id"],
            **options,
        }
        found = check_problem(calls.post("/v1/fits", body, headers=LATER), 422)
        assert found["errors"][0]["code"] == code
        assert found["errors"] == check_problem(calls.post("/v1/fits", body), 422)["errors"]
        assert not calls.get("/v1/fits", params={"training_id": body["training_id"]}).json["items"]


@pytest.mark.slow
class TestRunning:
    """A job that has not ended."""

    def test_progress_moves_and_changes_the_version(self, calls, long_fit):
        seen = [calls.get(long_fit)]
        for _ in range(2):
            before = seen[-1].json["progress"]["done"]
            seen.append(reply_when(calls, long_fit, lambda r, b=before: r["progress"]["done"] > b))
        assert {reply.json["state"] for reply in seen} == {"running"}
        assert {reply.json["progress"]["total"] for reply in seen} == {3000}
        assert len({reply.etag for reply in seen}) == 3
        reply = calls.get(long_fit, headers={"If-None-Match": seen[0].etag})
        assert reply.status == 200

    def test_it_is_found_by_its_state(self, calls, long_fit):
        items = calls.get("/v1/fits", params={"state": "running"}).json["items"]
        assert long_fit.rsplit("/", 1)[1] in [item["id"] for item in items]

    def test_its_matches_are_an_empty_list(self, calls, long_fit):
        assert calls.get(f"{long_fit}/matches").json == {"items": [], "next": None}

    def test_what_needs_its_end_is_409(self, calls, long_fit):
        identifier = long_fit.rsplit("/", 1)[1]
        points = calls.a_dataset(POINTS)["id"]
        body = {"fit_id": identifier, "test_id": points}
        check_problem(calls.post("/v1/mappings", body), 409)
        check_problem(calls.post("/v1/mappings", body, headers=LATER), 409)
        check_problem(calls.post(f"{long_fit}/evaluate", {"x": [1.0], "y": [1.0]}), 409)
        check_problem(calls.get(f"{long_fit}/plot"), 409)

    def test_its_dataset_cannot_be_deleted(self, calls, long_fit, noise):
        assert (
            long_fit.rsplit("/", 1)[1]
            in check_problem(calls.delete(f"/v1/datasets/{noise['training_id']}"), 409)["detail"]
        )

    def test_cancelling_it_takes_effect_and_frees_the_worker(self, calls, long_fit, pair):
        reply = calls.post(f"{long_fit}/cancel")
        assert (reply.status, reply.json["state"]) == (202, "cancelled")
        assert reply.json["finished_at"]
        assert reply.json["matches"]["items"] == []
        addresses = [check_accepted(calls.post("/v1/fits", pair, headers=LATER)) for _ in range(3)]
        for address in addresses:
            assert reply_when(calls, address, ended).json["state"] == "succeeded"
        assert calls.get(long_fit).json == reply.json
        check_problem(calls.post(f"{long_fit}/cancel"), 409)

    def test_deleting_it_cancels_it(self, calls, long_fit):
        assert calls.delete(long_fit).status == 204
        check_problem(calls.get(long_fit), 404)
        check_problem(calls.post(f"{long_fit}/cancel"), 404)


@pytest.mark.parametrize("noun", ["fits", "mappings"])
def test_what_has_succeeded_cannot_be_cancelled(calls, some, noun):
    check_problem(calls.post(f"{some.address[noun]}/cancel"), 409)
