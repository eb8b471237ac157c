"""Evaluations at the limits of points and reply, with the same bytes either way."""

from __future__ import annotations

import gzip
import json
import math
from contextlib import suppress

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc
from pyarrow import parquet as pq

from api import slots
from api.jobs.functions import FunctionCache
from api.resources import evaluations
from api.resources.small_evaluations import SmallEvaluations
from services.mapping.options import MapOptions
from tests.calls import POINTS, check_problem
from tests.contract.test_downloads import CSV, FILES, PARQUET
from tests.examples import examples


def pass_on(way, environ, start_response):
    """What `SmallEvaluations` does with a request that it leaves to Flask."""
    return way.application(environ, start_response)


def ask_always(cache, fit_id):
    """`get_fresh` that asks the database, so that it leaves no first request to Flask."""
    with suppress(Exception):
        return cache.get(fit_id)


@pytest.fixture(autouse=True, params=["before Flask", "by Flask"])
def way(request, monkeypatch):
    """Each test by each of the two ways of an evaluation."""
    if request.param == "by Flask":
        monkeypatch.setattr(SmallEvaluations, "__call__", pass_on)
    else:
        monkeypatch.setattr(FunctionCache, "get_fresh", ask_always)


EMOJI = "\N{GRINNING FACE}"


def path_of(calls, **columns):
    """Address of the evaluation of a fit of curves to themselves."""
    columns = columns or {"a": [0.0, 1.0, 2.0]}
    return f"/v1/fits/{calls.a_fit(*[{'x': [0.0, 1.0, 2.0]} | columns] * 2)['id']}/evaluate"


def some_points(count, seed=3):
    """Points with gaps, of which some are admitted, some not, some not covered."""
    random = np.random.default_rng(seed)
    x = random.choice([0.0, -0.0, 1.0, 2.0, 7.5], count).tolist()
    y = random.choice([0.0, -0.0, 1.0, 0.1 + 0.2, 5e-324, -1.7976931348623157e308], count).tolist()
    return {
        "x": [None if i % 17 == 3 else value for i, value in enumerate(x)],
        "y": [None if i % 13 == 5 else value for i, value in enumerate(y)],
    }


class TestPoints:
    """The limit `points`."""

    def test_it_is_at_least_a_hundred_thousand(self, calls):
        assert calls.get("/v1/limits").json["points"] >= 100_000

    @pytest.mark.parametrize("most", [1, 7, 5000])
    def test_it_is_in_force(self, limited, most):
        calls = limited(points=most)
        assert calls.get("/v1/limits").json["points"] == most
        path = path_of(calls)
        assert calls.post(path, some_points(most)).json["n_points"] == most
        detail = check_problem(calls.post(path, some_points(most + 1)), 413)["detail"]
        assert detail.startswith("Post a mapping")
        assert str(most) in detail

    def test_it_is_set_by_its_variable(self):
        from api.config import Settings  # noqa: PLC0415

        given = {"IDEALFIT_POINTS": "12", "IDEALFIT_REPLY_BYTES": "345", "IDEALFIT_THREADS": "6"}
        settings = Settings.from_environment(given)
        assert (settings.limits.points, settings.limits.reply_bytes) == (12, 345)
        assert settings.threads == 6

    @pytest.mark.parametrize("value", ["[1" + ",1" * 200_000 + "]", "[" * 9 + "1,1" * 200_000])
    def test_far_beyond_it_the_body_is_not_parsed(self, limited, monkeypatch, value):
        calls = limited(points=1000)
        path = path_of(calls)
        monkeypatch.setattr(evaluations, "parse_json", lambda *_: pytest.fail("it was parsed"))
        headers = {"Content-Type": "application/json"}
        reply = calls.post(path, data=f'{{"x":{value},"y":[1]}}'.encode(), headers=headers)
        check_problem(reply, 413)


class TestReply:
    """The limit `reply_bytes`, and the bytes."""

    @pytest.mark.parametrize("points", [1, 30, 3000])
    @pytest.mark.parametrize("policy", ["all", "nearest", "first"])
    def test_it_is_in_force(self, limited, points, policy):
        columns = {EMOJI * 200: [0.0, 1.0, 2.0], "b": [0.0, 0.5, 2.0], 'c"': [3.0, 0.5, 2.0]}
        calls = limited(reply_bytes=1)
        path = path_of(calls, **columns)
        body = some_points(points) | {"policy": policy}
        detail = check_problem(calls.post(path, body), 413)["detail"]
        assert detail.startswith("Post a mapping")
        needed = int(detail.partition("take ")[2].partition(" bytes")[0])
        for most, status in ((needed - 1, 413), (needed, 200)):
            calls = limited(reply_bytes=most)
            assert calls.get("/v1/limits").json["reply_bytes"] == most
            reply = calls.post(path_of(calls, **columns), body)
            assert reply.status == status
        assert len(reply.body) <= needed

    def test_names_count(self, limited):
        """A name of 200 emoji stands in every item, twice."""
        calls = limited(reply_bytes=2_000_000)
        assert calls.post(path_of(calls), some_points(5000)).status == 200
        reply = calls.post(path_of(calls, **{EMOJI * 200: [0.0, 1.0, 2.0]}), some_points(5000))
        check_problem(reply, 413)

    def test_nothing_is_computed_before_it_is_refused(self, limited, monkeypatch):
        calls = limited(reply_bytes=10_000)
        path = path_of(calls)
        for name in ("evaluate_few", "evaluate_many"):
            monkeypatch.setattr(evaluations, name, lambda *_: pytest.fail("it was computed"))
        check_problem(calls.post(path, some_points(1000)), 413)

    @given(
        names=st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=4),
        limit=st.floats(0, allow_nan=False, allow_infinity=False),
        points=st.integers(1, 50),
        policy=st.sampled_from(["all", "nearest", "first"]),
    )
    @examples(50)
    def test_the_estimate_is_never_too_low(self, names, limit, points, policy):
        long = -2.2250738585072014e-308
        named = [{"training": name, "ideal": name, "limit": limit} for name in names]
        item = {"point": points, "column": "y", "x": long, "y": long}
        chosen = named if policy == "all" else [max(named, key=lambda f: len(orjson.dumps(f)))]
        items = [item | function | {"deviation": long, "reason": None} for function in chosen]
        counts = {"n_assignments": points, "deviation_mean": long, "deviation_max": long}
        reply = {"functions": [f | counts for f in named], "points": {"items": items * points}}
        options = MapOptions(policy, 1.0, "linear", None)
        assert len(orjson.dumps(reply)) <= evaluations.longest_reply(points, named, options)

    @pytest.mark.parametrize("policy", ["all", "nearest", "first"])
    @pytest.mark.parametrize("factor", [0, 1.5, 1.7976931348623157e308])
    @pytest.mark.parametrize("count", [1, 200])
    def test_a_long_reply_has_the_bytes_of_a_short_one(
        self, limited, monkeypatch, policy, factor, count
    ):
        calls = limited()
        columns = {"a": [0.0, 1.0, 2.0], f'"{EMOJI}\n': [0.3, 1.0, None], "c": [1e308, -1e308, 0.0]}
        path = path_of(calls, **columns)
        body = some_points(count) | {"policy": policy, "tolerance_factor": factor}
        short = calls.post(path, body)
        monkeypatch.setattr(evaluations, "is_few", lambda *_: False)
        monkeypatch.setattr("api.jobs.mappings.EVALUATED_CELLS", 30)
        long = calls.post(path, body)
        assert (short.status, long.status) == (200, 200)
        assert long.body == short.body
        assert int(long.headers["Content-Length"]) == len(long.body)
        assert long.type == "application/json"

    def test_a_long_reply_holds_what_a_mapping_holds(self, calls):
        test = some_points(3000)
        fit = calls.a_fit()
        answer = calls.post(f"/v1/fits/{fit['id']}/evaluate", test).json
        mapping = calls.a_mapping(fit["id"], test)
        pages = calls.pages(f"/v1/mappings/{mapping['id']}/points", limit=500)
        assert answer["points"]["items"] == [item for page in pages for item in page]
        shown = {name: mapping[name] for name in answer if name != "points"}
        assert shown == {name: answer[name] for name in shown}


class TestSlots:
    """Small evaluations never wait; large ones do, by body or by points."""

    @pytest.fixture
    def taken(self, monkeypatch):
        taken = []
        monkeypatch.setattr(slots, "enter", lambda: taken.append(True))
        return taken

    @pytest.mark.parametrize(
        ("points", "heavy"), [(10, False), (1000, False), (slots.SMALL_NUMBERS + 1, True)]
    )
    def test_by_points(self, limited, taken, points, heavy):
        calls = limited()
        assert calls.post(path_of(calls), {"x": [1] * points, "y": [1] * points}).status == 200
        assert bool(taken) == heavy

    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    @pytest.mark.parametrize("padding", [0, 1 << 19])
    def test_by_body(self, limited, taken, pack, padding):
        calls = limited()
        x = np.random.default_rng(1).random(10).tolist()
        noise = np.random.default_rng(2).choice(list(" \n\t"), padding)
        data = pack((json.dumps({"x": x, "y": x}) + "".join(noise)).encode())
        headers = {"Content-Type": "application/json"}
        if pack is gzip.compress:
            headers["Content-Encoding"] = "gzip"
        assert calls.post(path_of(calls), data=data, headers=headers).status == 200
        assert bool(taken) == bool(padding)

    def test_a_slot_is_given_back_whatever_happens(self, limited):
        calls = limited()
        path = path_of(calls)
        many = [1] * (slots.SMALL_NUMBERS + 1)
        for body in ({"x": many, "y": many}, {"x": [1] * 200_000, "y": []}, {"x": ["a"] * 99_999}):
            for _ in range(9):
                assert calls.post(path, body).status in {200, 413, 422}
        assert calls.post("/v1/fits/nobody/evaluate", {"x": many, "y": many}).status == 404
        assert calls.post(path, POINTS).status == 200
        assert math.isfinite(calls.post(path, {"x": many, "y": many}).json["n_points"])


class TestFiles:
    """By Accept, the points of a reply as a file."""

    @pytest.mark.parametrize("kind", FILES, ids=FILES.values())
    @pytest.mark.parametrize("count", [1, 30, 3000, 20_000])
    def test_it_holds_the_points_of_a_mapping(self, limited, kind, count):
        calls = limited()
        columns = {"a": [0.0, 1.0, 2.0], f'"{EMOJI}, ': [0.3, 1.0, None], "c": [1e308, -1e308, 0]}
        fit = calls.a_fit(*[{"x": [0.0, 1.0, 2.0]} | columns] * 2)
        test, options = some_points(count), {"policy": "all", "tolerance_factor": 1e308}
        evaluated = calls.post(
            f"/v1/fits/{fit['id']}/evaluate", test | options, headers={"Accept": kind}
        )
        mapping = calls.a_mapping(fit["id"], test, **options)
        mapped = calls.get(f"/v1/mappings/{mapping['id']}/points", headers={"Accept": kind})
        assert (evaluated.status, evaluated.type) == (200, kind)
        assert int(evaluated.headers["Content-Length"]) == len(evaluated.body)
        assert read_table(kind, evaluated.body).equals(read_table(kind, mapped.body))
        name = f"{fit['name']} points".replace("/", "-")
        assert evaluated.headers["Content-Disposition"].startswith('attachment; filename="')
        assert name.split()[0] in evaluated.headers["Content-Disposition"]

    @pytest.mark.parametrize("kind", FILES, ids=FILES.values())
    def test_its_limits_are_those_of_json(self, limited, kind):
        calls = limited(points=10, reply_bytes=2000)
        path = path_of(calls)
        for count, status in ((1, 200), (10, 413), (11, 413)):
            reply = calls.post(path, some_points(count), headers={"Accept": kind})
            assert reply.status == status
        check_problem(calls.post(path, {"x": [], "y": []}, headers={"Accept": kind}), 422)
        check_problem(calls.post("/v1/fits/a/evaluate", POINTS, headers={"Accept": kind}), 404)


def read_table(kind, body):
    """The rows of a file, whatever its batches are."""
    if kind == CSV:
        return pa.table({"text": [body.decode()]})
    table = (
        pq.read_table(pa.BufferReader(body))
        if kind == PARQUET
        else ipc.open_stream(body).read_all()
    )
    return pa.table(
        {
            name: table[name].cast(pa.string())
            if pa.types.is_dictionary(table[name].type)
            else table[name]
            for name in table.column_names
        }
    )
