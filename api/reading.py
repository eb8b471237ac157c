"""Options of the command line for reading files, made from the fields that the service takes."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any, cast

import click
from marshmallow import fields, validate

from api.schemas.base import Choice
from api.schemas.files import FileFields
from api.schemas.labels import LabelTexts

FIELDS: dict[str, fields.Field[Any]] = FileFields().fields

JOIN_NAMES = ("grid", "x_tolerance", "alignment")
"""Fields that say how curves of different x become one table."""

READ_NAMES = tuple(
    name for name in FIELDS if name not in {*LabelTexts().fields, *JOIN_NAMES, "skip_unreadable"}
)
"""Fields that say how a file is read."""


def make_options(names: Sequence[str]) -> list[click.Option]:
    """Make an option of each field, with its words and its description."""
    return [_make_option(name, FIELDS[name]) for name in names]


def _make_option(name: str, field: fields.Field[Any]) -> click.Option:
    settings: dict[str, Any] = {"help": field.metadata["description"]}
    if isinstance(field, fields.List):
        settings["multiple"] = True
    if isinstance(field, Choice):
        words = [str(word) for word in cast("validate.OneOf", field.validate).choices]
        settings["type"] = click.Choice(words)
        if not "".join(words).replace("-", "").isalnum():
            # Marks between the bars of click's list of words are hard to tell from them.
            settings["metavar"] = "MARK"
            settings["help"] = f"{settings['help']} One of: {' '.join(words)}"
    if field.load_default:
        settings["help"] += f"  [default: {field.load_default}]"
    return click.Option([option_of(name)], **settings)


def take_fields(options: dict[str, Any], names: Sequence[str] = READ_NAMES) -> dict[str, Any]:
    """Take the fields that were given out of the options of a command."""
    taken = {name: options.pop(name) for name in names}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in taken.items()
        if value
    }


def option_of(name: str) -> str:
    """Return the option of a field."""
    return f"--{name.replace('_', '-')}"


def name_options(detail: str) -> str:
    """Write the fields that a message of the service names as options, so `--header=absent`.

    Only options of the running command are named. Text of a file, which is in quotes, stays as it
    is.
    """
    context = click.get_current_context()
    names = [param.name for param in context.command.get_params(context) if param.name]
    return _make_pattern(tuple(names)).sub(
        lambda found: option_of(found["name"]) if found["name"] else found[0], detail
    )


_QUOTED = r"""(?<=[\s(])(?:'[^']*'|"[^"]*")"""


@functools.cache
def _make_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """Find quotes, and names where they are no words of a sentence."""
    longest_first = sorted(names, key=len, reverse=True)
    any_name = "|".join(longest_first)
    no_word = "|".join(name for name in longest_first if "_" in name)
    places = rf"\b(?:{any_name})(?==)|\b(?:{no_word})\b|^(?:{any_name})(?=:)"
    return re.compile(rf"{_QUOTED}|(?P<name>{places}|(?<=^Leave out )(?:{any_name})\b)")
