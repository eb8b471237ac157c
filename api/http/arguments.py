"""Bodies and queries, read by their schemas."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import marshmallow as ma
from flask import request

from api import jsonbody
from api.errors import Problem
from api.http.bodies import expect_type, parse_json, read_json_body
from api.http.media import JSON, MERGE_PATCH
from api.schemas.base import MOST_FACTS
from services.errors import Fact


def read_body(schema: ma.Schema) -> Any:
    """Read the fields of a JSON body."""
    expect_type(JSON, *((MERGE_PATCH,) if request.method == "PATCH" else ()))
    return load(schema, parse_json(read_json_body()), "json")


def read_query(schema: ma.Schema) -> Any:
    """Read the fields of the query; 422 for a repeated one, unless it is a list."""
    given = dict(request.args.lists())
    many = {name for name in given if isinstance(schema.fields.get(name), ma.fields.List)}
    repeated = [name for name, values in given.items() if len(values) > 1 and name not in many]
    if repeated:
        raise make_invalid({name: ["Given more than once."] for name in repeated}, "query")
    fields = {name: values if name in many else values[0] for name, values in given.items()}
    return load(schema, fields, "query")


READERS = {"json": read_body, "query": read_query}


def load(schema: ma.Schema, data: Any, location: str) -> Any:
    """Load fields with a schema; 422 if they do not fit."""
    try:
        return schema.load(data)
    except ma.ValidationError as error:
        raise make_invalid(error.messages, location) from None


def make_invalid(messages: Any, location: str = "json") -> Problem:
    """Make a 422 from marshmallow's nested messages."""
    facts = list(itertools.islice(_collect_facts(messages, (), location), MOST_FACTS))
    return Problem(422, facts[0].detail if facts else "The request does not fit.", facts)


_CODES = {
    "Missing data for required field.": "required",
    "Unknown field.": "unknown_field",
    "Field may not be null.": "null",
}


def _collect_facts(messages: Any, path: tuple[str, ...], location: str) -> Iterator[Fact]:
    if isinstance(messages, dict):
        for key, value in messages.items():
            name = jsonbody.shorten(str(key))
            yield from _collect_facts(value, path if key == "_schema" else (*path, name), location)
        return
    for message in messages:
        if isinstance(message, Fact):
            yield message
            continue
        if isinstance(message, dict):
            yield from _collect_facts(message, path, location)
            continue
        code = _CODES.get(message, "invalid")
        if location == "json":
            steps = (step.replace("~", "~0").replace("/", "~1") for step in path)
            pointer = "".join(f"/{step}" for step in steps)
            yield Fact(f"{pointer or 'The body'}: {message}", code, pointer=pointer)
        else:
            name = path[0] if path else location
            yield Fact(f"{name}: {message}", code, parameter=name)
