"""JSON bodies of every shape and length are read exactly, and answered soon."""

from __future__ import annotations

import itertools
import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import jsonbody
from api.app import create_app
from api.config import Settings
from api.limits import Limits, limits_in_force
from api.running import running
from api.store.base import Database
from api.store.migrate import migrate
from tests.calls import CURVES, a_form, check_fact, check_problem, over_wsgi

JSON = "application/json"
MEBIBYTE = 1 << 20


def listed(head, items, tail, size, most=None):
    """As many items between head and tail as the size has room for, or as are wanted."""
    room = size - len(head) - len(tail)
    found = []
    for item in itertools.islice(items, most):
        room -= len(item) + 1
        if room < 0:
            break
        found.append(item)
    return head + b",".join(found) + tail


def one(item):
    return itertools.repeat(item)


def numbered(pattern):
    return (pattern % number for number in itertools.count())


FIT = b'{"training_id":"ID","ideal_id":"ID",'
TABLE = b'{"name":"a","columns":{"x":[1],"y":[1]},'
HALF = Limits().json_texts - 20
"""Nearly as many texts as one body may have, so that the count alone does not refuse them."""

SHAPES = {
    "unknown fields, the last one twice": lambda size: listed(
        b"{", numbered(b'"%x":0'), b',"z":1,"z":2}', size
    ),
    "unknown fields that are not too many, one twice": lambda size: listed(
        b"{", numbered(b'"%x":0'), b',"z":1,"z":2}', size, HALF
    ),
    "each name twice": lambda size: listed(
        b"{",
        itertools.chain.from_iterable((b'"%x":0' % n, b'"%x":0' % n) for n in itertools.count()),
        b"}",
        size,
        HALF,
    ),
    "unknown fields": lambda size: listed(b"{", numbered(b'"%x":0'), b"}", size, HALF),
    "curve names": lambda size: listed(FIT + b'"ideal_curves":[', numbered(b'"%x"'), b"]}", size),
    "curve names that are not too many": lambda size: listed(
        FIT + b'"ideal_curves":[', numbered(b'"%x"'), b"]}", size, HALF
    ),
    "one curve name": lambda size: listed(
        FIT + b'"ideal_curves":[', one(b'"a"'), b"]}", size, HALF
    ),
    "curve names that are numbers": lambda size: listed(
        FIT + b'"training_curves":[', one(b"0"), b"]}", size
    ),
    "attributes": lambda size: listed(
        TABLE + b'"attributes":{', numbered(b'"%x":0'), b"}}", size, HALF
    ),
    "attributes, one of them long": lambda size: listed(
        TABLE + b'"attributes":{"a":[', one(b"0"), b"]}}", size
    ),
    "empty arrays": lambda size: listed(b'{"x":[', one(b"[]"), b'],"y":[1]}', size),
    "objects": lambda size: listed(b"[", one(b'{"a":0}'), b"]", size),
    "texts among numbers": lambda size: listed(
        b'{"x":[0,', numbered(b'"%x"'), b'],"y":[1]}', size, HALF
    ),
    "numbers behind a text": lambda size: listed(b'{"x":["a",', one(b"0"), b'],"y":[1]}', size),
    "brackets": lambda size: b"[" * (size // 2) + b"]" * (size // 2),
    "deep inside numbers": lambda size: listed(
        b'{"x":[0,' + b"[" * 900 + b"]" * 900 + b",", one(b"1"), b'],"y":[1]}', size
    ),
    "numbers and an escaped quote": lambda size: listed(
        b'{"x":[', one(b"0"), b'],"y":[1],"a":"\\""}', size
    ),
    "escaped quotes": lambda size: b'{"a":"' + b'\\"' * (size // 2 - 9) + b'"}',
    "escaped backslashes": lambda size: b'{"a":"' + b"\\\\" * (size // 2 - 9) + b'"}',
    "minus zeros": lambda size: listed(b'{"x":[', one(b"-0"), b'],"y":[1]}', size),
    "minus zeros and texts": lambda size: listed(b"{", numbered(b'"-0,%x":-0'), b"}", size, HALF),
    "columns of zeros": lambda size: listed(
        b'{"name":"a","columns":{"x":[0],"y":[', one(b"0"), b"]}}", size
    ),
    "columns of gaps": lambda size: listed(
        b'{"name":"a","columns":{"x":[0],"y":[', one(b"null"), b"]}}", size
    ),
    "columns of truth": lambda size: listed(
        b'{"name":"a","columns":{"x":[0],"y":[', one(b"true"), b"]}}", size
    ),
    "columns of texts": lambda size: listed(
        b'{"name":"a","columns":{', numbered(b'"%05d":["a"]'), b"}}", size, 10_000
    ),
    "long whole numbers": lambda size: listed(b'{"x":[', one(b"9" * 300), b'],"y":[1]}', size),
    "a long name": lambda size: b'{"' + b"a" * (size - 9) + b'":1}',
    "a long name, twice": lambda size: b'{"%b":1,"%b":1}' % ((b"a" * (size // 2 - 9),) * 2),
    "a long word": lambda size: FIT + b'"criterion":"' + b"a" * (size - 99) + b'"}',
    "no JSON": lambda size: b"x" * size,
    "blanks": lambda size: b"{" + b"\n" * (size - 9) + b"!}",
    "half a text": lambda size: b'"' + b"a" * (size - 9),
}


def form(*parts):
    made = a_form(*parts)
    return made["data"], made["headers"]["Content-Type"]


ROUTES = {
    "dataset": ("POST", "/v1/datasets", lambda body: (body, JSON)),
    "file of a form": (
        "POST",
        "/v1/datasets",
        lambda body: form(("file", body, "a.json", JSON)),
    ),
    "field of a form": (
        "POST",
        "/v1/datasets",
        lambda body: form(("attributes", body[:490_000]), ("file", b"x,y\n1,2\n", "a.csv")),
    ),
    "curves": ("POST", "/v1/datasets/{dataset}/curves", lambda body: (body, JSON)),
    "fit": ("POST", "/v1/fits", lambda body: (body, JSON)),
    "mapping": ("POST", "/v1/mappings", lambda body: (body, JSON)),
    "evaluate": ("POST", "/v1/fits/{fit}/evaluate", lambda body: (body, JSON)),
    "patch of a dataset": ("PATCH", "/v1/datasets/{dataset}", lambda body: (body, JSON)),
    "patch of a fit": ("PATCH", "/v1/fits/{fit}", lambda body: (body, JSON)),
    "patch of a mapping": ("PATCH", "/v1/mappings/{mapping}", lambda body: (body, JSON)),
}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    settings = Settings(data=tmp_path_factory.mktemp("json"))
    database = Database(settings.url)
    migrate(database)
    database.close()
    app = create_app(settings)
    yield app
    running(app).database.close()


@pytest.fixture(scope="module")
def calls(app):
    return over_wsgi(app)


@pytest.fixture(scope="module")
def ids(calls):
    dataset = calls.a_dataset(CURVES)["id"]
    fit = calls.a_fit(dataset, dataset)["id"]
    return {"dataset": dataset, "fit": fit, "mapping": calls.a_mapping(fit, dataset)["id"]}


def seconds_of(calls, ids, shape, route, size):
    """Processor seconds that the answer takes, after a look at it."""
    method, path, wrap = ROUTES[route]
    body, kind = wrap(SHAPES[shape](size).replace(b'"ID"', b'"%b"' % ids["dataset"].encode()))
    headers = {"Content-Type": kind, "If-Match": "*"}
    started = time.process_time()
    reply = calls(method, path.format(**ids), data=body, headers=headers)
    seconds = time.process_time() - started
    assert 400 <= reply.status < 500
    assert len(check_problem(reply, reply.status)["errors"]) <= 50
    assert len(reply.body) < 30_000
    return seconds


def some_pairs():
    """Each shape on each route; in `make test` each shape on one, and each route with three."""
    for number, (shape, route) in enumerate(itertools.product(SHAPES, ROUTES)):
        is_one_of_all = number % len(ROUTES) == number // len(ROUTES) % len(ROUTES)
        yield pytest.param(shape, route, marks=() if is_one_of_all else pytest.mark.thorough)


@pytest.mark.parametrize(("shape", "route"), list(some_pairs()))
def test_json_of_any_shape_is_answered_soon(calls, ids, shape, route):
    # Where names were compared with each other this took more than a minute.
    assert seconds_of(calls, ids, shape, route, MEBIBYTE // 2) < 1


OF_EACH_FAMILY = {
    "unknown fields that are not too many, one twice",
    "curve names that are numbers",
    "attributes, one of them long",
    "texts among numbers",
    "deep inside numbers",
    "escaped backslashes",
    "minus zeros",
    "columns of zeros",
    "long whole numbers",
    "a long name, twice",
}
"""Shapes that `make test` tries at full length."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(shape, marks=() if shape in OF_EACH_FAMILY else pytest.mark.thorough)
        for shape in SHAPES
    ],
)
def test_the_longest_json_takes_no_more_than_its_share(calls, ids, shape):
    route = "fit" if SHAPES[shape](200).startswith(FIT) else "evaluate"
    route = "dataset" if b'"columns"' in SHAPES[shape](200) else route
    # Half of it on a quiet machine.
    assert seconds_of(calls, ids, shape, route, 16 * MEBIBYTE - 1000) < 4


NUMBERS = st.one_of(
    st.just(-0.0),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
TEXTS = st.text(alphabet=['"', "\\", "-", "0", ",", "]", "e", " ", "a", "é", "\x01"])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


class TestParse:
    """Values are those that were written."""

    @given(VALUES, st.booleans())
    def test_it_reads_what_was_written(self, value, ascii_only):
        text = json.dumps([value], ensure_ascii=ascii_only)
        found = jsonbody.parse(text.encode(), Limits())
        assert json.dumps(found, ensure_ascii=ascii_only) == text

    def test_a_zero_keeps_its_sign(self):
        found = jsonbody.parse(b'{"-0,":[-0,-0e-0,1e-0, -0 ],"b":-0,"c":"\\"-0,"}', Limits())
        assert list(found) == ["-0,", "b", "c"]
        assert [math.copysign(1, zero) for zero in found["-0,"]] == [-1, -1, 1, -1]
        assert math.copysign(1, found["b"]) == -1
        assert found["c"] == '"-0,'

    @pytest.mark.parametrize(
        "text", [b'{"a":1,"a":2}', b'[{"b":"\\"","a":1,"\\u0061":2}]', b'[0,{"a":1,"a":2}]']
    )
    def test_a_name_given_twice_is_named(self, text):
        with pytest.raises(jsonbody.JSONError, match="'a' stands twice") as caught:
            jsonbody.parse(text, Limits())
        assert caught.value.status == 400

    @pytest.mark.parametrize(
        ("name", "body"),
        [
            ("json_arrays", lambda count: b"[%b]" % b",".join([b"{}"] * (count - 1))),
            ("json_texts", lambda count: b"[%b]" % b",".join([b'""'] * count)),
            ("json_depth", lambda count: b"[" * count + b"]" * count),
        ],
    )
    def test_what_is_counted_may_be_as_many_as_the_limit(self, name, body):
        most = Limits(**{name: 7})
        jsonbody.parse(body(7), most)
        with pytest.raises(jsonbody.JSONError, match="7"):
            jsonbody.parse(body(8), most)


def test_without_an_app_the_limits_are_the_defaults():
    assert limits_in_force() == Limits()


def test_a_name_given_twice_in_attributes_of_a_form_is_refused(calls):
    reply = calls.post(
        "/v1/datasets",
        **a_form(("file", "x,y\n1,2\n", "a.csv"), ("attributes", '{"a": 1, "a": 2}')),
    )
    check_fact(reply, 422, parameter="attributes")


def test_more_names_than_curves_tell_the_first_that_is_unknown(calls, ids):
    names = ["y1", "y2", "y3", "y4", "y5"]
    body = {"training_id": ids["dataset"], "ideal_id": ids["dataset"], "ideal_curves": names}
    check_fact(calls.post("/v1/fits", body), 422, pointer="/ideal_curves/2", code="unknown_curve")
