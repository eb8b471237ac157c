"""The choice of the x column, doubted by its name and those of the others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from services.errors import quote
from services.tables import TableWarning

_AXIS = re.compile(
    r"(?:elapsed )?time.*|t|timestamp|wave.?length.*|wave.?number.*|raman.?shift.*|frequency.*"
    r"|energy.*|angle.*|2.?theta.*|lambda.*|\u03bb.*|\u03bd.*",
    re.IGNORECASE,
)
"""Names of columns that are x in most files."""

_NUMBERED_X = re.compile(r"x\s*_?([0-9]+)", re.IGNORECASE)


def warn_of_axis(names: Sequence[str], x: int, x_column: str | None) -> Iterator[TableWarning]:
    """Warn where another column may be x.

    Parameters
    ----------
    names : sequence of str
        Names of all columns, in their order.
    x : int
        Position of the x column.
    x_column : str or None
        The x column that the client named, which is not doubted.

    Yields
    ------
    TableWarning
    """
    if x_column is not None:
        return
    other = _other_axis(names, x)
    if other is not None:
        detail = f"x was taken from column {quote(names[x])}, not from {quote(names[other])}."
        detail += f" Say x_column={names[other]} if that is x."
        yield TableWarning("axis", detail, names[x], options={"x_column": names[other]})
    pairs = [name for name in names[::2] if _NUMBERED_X.fullmatch(name)]
    if len(pairs) > 1 and len(pairs) == len(names) / 2:
        detail = f"Column {quote(pairs[1])} was taken for a curve, not for the x of the next one."
        detail += " Say layout=pairs if each curve has its own x."
        yield TableWarning("layout", detail, pairs[1], options={"layout": "pairs"})


def _other_axis(names: Sequence[str], x: int) -> int | None:
    """Return the position of a column that is x as likely as the one that was chosen."""
    if x > 0:
        return 0
    if _AXIS.fullmatch(names[0]) or names[0] in {"x", "X"}:
        return None
    return next((at for at, name in enumerate(names) if at and _AXIS.fullmatch(name)), None)
