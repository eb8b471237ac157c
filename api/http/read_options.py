"""Options of a request for reading its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from api.http.bodies import make_reader_limits
from services.errors import Fact, InvalidOption
from services.files import ReadOptions
from services.files.formats import Format, facts_of

_NAMES = (
    "columns",
    "comment",
    "decimal",
    "delimiter",
    "encoding",
    "first_line",
    "gap",
    "header",
    "last_line",
    "layout",
    "sheet",
    "thousands",
    "units",
    "x_column",
)

_OF_ANY_FORMAT = {"x_column"}
_OF_SPECTRA: dict[Format, set[str]] = {"jcamp": {"columns", "decimal"}, "spc": {"columns"}}
_OF_SHEETS = {"columns", "first_line", "gap", "header", "last_line", "layout", "units"}


def take_options(
    fields: dict[str, Any],
    parameters: Mapping[str, str],
    usual_x: Sequence[str],
    n_points: int | None,
) -> ReadOptions:
    """Take the options of reading out of the fields of a request.

    `parameters` are those of the media type: `charset` and `header`.
    """
    given = {name: fields.pop(name) for name in _NAMES if name in fields}
    if given["header"] == "auto" and parameters.get("header") in {"present", "absent"}:
        given["header"] = parameters["header"]
    if given["thousands"] == "none":
        given["thousands"] = None
    return ReadOptions(
        **given,
        charset=parameters.get("charset"),
        stem=fields.get("name"),
        usual_x=usual_x,
        n_points=n_points,
        limits=make_reader_limits(),
    )


def check_options(format: Format, options: ReadOptions) -> None:
    """Refuse options that mean nothing in a format, or beside `layout=rows`."""
    if options.layout == "rows":
        for name in ("columns", "x_column"):
            if getattr(options, name):
                detail = f"Leave out {name}: with layout=rows each row is a curve, the first is x."
                raise InvalidOption(detail, [Fact(detail, "invalid", parameter=name)])
    for name in sorted(find_given(options) - _taken_by(format)):
        detail = f"Leave out {name}: a file of this format ({format}) has none to choose."
        raise InvalidOption(detail, [Fact(detail, "invalid", parameter=name)])


def find_given(options: ReadOptions) -> set[str]:
    """Find the names of the options that are not the default."""
    usual = ReadOptions()
    return {
        name
        for name in _NAMES
        if (getattr(options, name) or None) != (getattr(usual, name) or None)
    }


def restrict(options: ReadOptions, format: Format) -> ReadOptions:
    """Return the options without those that mean nothing in a format."""
    usual = ReadOptions()
    others = find_given(options) - _taken_by(format)
    return replace(options, **{name: getattr(usual, name) for name in others})


def _taken_by(format: Format) -> set[str]:
    """Return the names of the options that mean something in a format."""
    facts = facts_of(format)
    if facts.has_sheets:
        return _OF_SHEETS | _OF_ANY_FORMAT | {"sheet"}
    if facts.has_header:
        return set(_NAMES) - {"sheet"}
    return _OF_ANY_FORMAT | _OF_SPECTRA.get(format, set())
