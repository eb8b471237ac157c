"""Files whose curves have different x: their parts are joined to one table."""

from __future__ import annotations

from typing import Any

from api.http.bodies import make_reader_limits
from services.files import Joiner, JoinOptions, Part, ReadFile, read_grid
from services.tables import FloatArray, TableWarning


def take_join_options(fields: dict[str, Any]) -> JoinOptions:
    """Take the options of joining out of the fields that came with a file."""
    limits = make_reader_limits()
    return JoinOptions(
        read_grid(fields.pop("grid"), limits.max_rows),
        fields.pop("x_tolerance"),
        fields.pop("alignment"),
        fields.get("x_unit"),
    )


def join_parts(
    read: ReadFile, options: JoinOptions, grid: tuple[str, FloatArray] | None, origin: str
) -> tuple[Part, tuple[TableWarning, ...]]:
    """Join the parts of a file to one, and close them; return the warnings too."""
    if len(read.parts) == 1 and isinstance(options.grid, str):
        return read.parts[0], read.warnings
    joiner = Joiner(options, make_reader_limits(), grid)
    try:
        for part in read.parts:
            joiner.check(part)
            # Of one file, the first curve tells its parts apart.
            where = part.curves.names[0] if len(read.parts) > 1 else origin
            joiner.add(part, part.curves.names, where)
        return joiner.finish(), (*read.warnings, *joiner.warnings)
    except BaseException:
        joiner.close()
        raise
    finally:
        read.close()
