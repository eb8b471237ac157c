"""Our own way to load requests agrees with marshmallow's, to the last message."""

import copy
from datetime import UTC, datetime

import marshmallow as ma
import pytest
from hypothesis import given
from hypothesis import strategies as st

import api.app  # noqa: F401 - all schemas
from api.schemas.base import Reply, Request, format_moment, read_numbers, read_rows
from api.schemas.datasets import CurvesPatch
from api.schemas.files import FileFields, without_empty


def subclasses(kind):
    return {kind} | {inner for child in kind.__subclasses__() for inner in subclasses(child)}


# The fields of a CurvesPatch have the names of curves, so it reads them itself.
SCHEMAS = sorted(subclasses(Request) - {Request, CurvesPatch}, key=lambda schema: schema.__name__)
WORDS = ["sse", "all", "exact", "linear", "a", " b ", "10", "1", "-name", "x", "{}", '{"a":1}']
TEXTS = st.one_of(st.sampled_from(WORDS), st.text(max_size=3))
LISTS = st.lists(st.one_of(st.none(), st.integers(0, 1), st.floats(-1, 1), TEXTS), max_size=3)
VALUES = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.floats(0, 1),
    st.integers(0, 3),
    LISTS,
    st.lists(st.sampled_from(["y1", "y2"]), max_size=2),
    st.dictionaries(st.sampled_from(["x", "y", ""]), LISTS, max_size=2),
    st.just({"x": [0.0, 1.0], "y": [1, None]}),
)


@pytest.mark.parametrize("schema", SCHEMAS)
@given(st.data())
def test_a_request_is_read_as_marshmallow_reads_it(schema, data):
    shape = schema()
    names = st.sampled_from([*shape.fields, *shape.fields, "unknown"])
    # In a query and a form all is text.
    values = VALUES if schema.__name__.endswith(("Request", "Patch")) else TEXTS
    fields = data.draw(st.one_of(st.dictionaries(names, values, max_size=6), VALUES))
    given = without_empty(fields) if issubclass(schema, FileFields) else fields
    expected = outcome(lambda fields: ma.Schema.load(shape, fields), given)
    assert outcome(shape.load, fields) == expected


CELLS = st.one_of(st.integers(-1, 2), st.floats(allow_nan=False), st.integers(-(2**63), 2**64 - 1))
OTHERS = st.one_of(CELLS, st.none(), st.booleans(), st.just("1"), st.just([1.0]))


@given(
    st.one_of(
        st.integers(1, 3).flatmap(
            lambda size: st.lists(st.lists(CELLS, min_size=size, max_size=size), min_size=1)
        ),
        st.lists(st.lists(OTHERS, max_size=3), min_size=1, max_size=3),
    ),
    st.booleans(),
)
def test_columns_at_once_are_columns_one_by_one(columns, spoilt):
    rows = read_rows([[True, *cells] if spoilt else cells for cells in columns])
    types = {type(cell) for cells in columns for cell in cells}
    lengths = {len(cells) for cells in columns}
    if spoilt or not types <= {int, float} or len(lengths) > 1 or lengths == {0}:
        assert rows is None
    else:
        expected = [read_numbers(cells, "x", "/x") for cells in columns]
        assert rows.tobytes() == b"".join(cells.tobytes() for cells in expected)


def outcome(load, fields):
    """What was read, or every message, in words that tell -0.0 from 0 and equal NaN."""
    try:
        return repr(load(fields))
    except ma.ValidationError as error:
        return repr(error.normalized_messages())


class TestHooks:
    """A schema cannot be made that asks for what our `load` and `dump` leave out."""

    @pytest.mark.parametrize("kind", [Request, Reply])
    @pytest.mark.parametrize(
        "hook", [ma.validates_schema, ma.pre_load, ma.post_load, ma.post_dump, ma.validates("a")]
    )
    def test_a_hook_is_refused_with_the_class(self, kind, hook):
        def look(_schema, data, **_):
            return data

        with pytest.raises(TypeError, match=r"Hooked\.look is a hook"):
            type("Hooked", (kind,), {"a": ma.fields.Integer(), "look": hook(look)})

    @pytest.mark.parametrize("kind", [Request, Reply])
    @pytest.mark.parametrize(
        "field",
        [
            ma.fields.Integer(attribute="b"),
            ma.fields.Integer(data_key="b"),
            ma.fields.Integer(dump_default=3),
            ma.fields.Method("count"),
            ma.fields.Function(len),
            ma.fields.Constant(3),
        ],
    )
    def test_a_field_is_refused_with_its_option(self, kind, field):
        schema = type("Odd", (kind,), {"a": field, "count": lambda *_: 3})
        with pytest.raises(TypeError, match=r"Odd\.a: \w+ would have no effect"):
            schema()


@given(st.datetimes(timezones=st.timezones(), min_value=datetime(1000, 1, 2)))  # noqa: DTZ001 - hypothesis adds the zone
def test_a_time_is_written_in_utc_with_microseconds(moment):
    for value in (moment, moment.replace(microsecond=0)):
        utc = value.astimezone(UTC).replace(tzinfo=None)
        assert format_moment(value) == utc.isoformat(timespec="microseconds") + "Z"
    assert format_moment(None) is None


def test_a_schema_is_not_copied_with_what_it_documents():
    """Otherwise half a second of each start of the service copies fields."""
    schema = CurvesPatch()
    assert copy.deepcopy([schema]) == [schema]
