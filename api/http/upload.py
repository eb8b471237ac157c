"""The curves of a request, and what is expected of its body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import marshmallow as ma

from api.http.preview import Look
from services.files import Source
from services.tables import Curves, FloatArray, Labels, TableWarning


@dataclass(frozen=True, slots=True)
class Upload:
    """Curves, how they were read, and the fields that came with them.

    The curves may lie in a temporary file, which is gone once they are closed. `files` are the
    reports on each of many files, None for a single one.
    """

    curves: Curves
    labels: Labels
    source: Source
    warnings: tuple[TableWarning, ...]
    fields: dict[str, Any]
    files: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """Schemas of the body, names of an x column that need not be said, and the grid, if known."""

    json_schema: type[ma.Schema]
    form_schema: type[ma.Schema]
    usual_x: Sequence[str]
    grid: tuple[str, FloatArray] | None
    look: Look | None = None
