"""Options of a mapping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from services import grids
from services.errors import Fact, InvalidOption
from services.grids import AlignmentKind

Policy = Literal["all", "nearest", "first"]


@dataclass(frozen=True, slots=True)
class MapOptions:
    """How points are admitted; the words of the contract.

    Parameters
    ----------
    policy : str
        ``all``, ``nearest`` or ``first`` of the functions that admit a point.
    tolerance_factor : float
        Times the largest deviation of the fit is the limit, 0 or more.
    alignment : str
        ``exact`` or ``linear``.
    x_tolerance : float or None
        For exact alignment. [unit of x]
    """

    policy: Policy = "all"
    tolerance_factor: float = math.sqrt(2)
    alignment: AlignmentKind = "exact"
    x_tolerance: float | None = None


def check_options(options: MapOptions) -> None:
    """Refuse options out of their range.

    Parameters
    ----------
    options : MapOptions
        As asked.

    Raises
    ------
    InvalidOption
        With the pointer of the field.
    """
    grids.check_tolerance(options.alignment, options.x_tolerance)
    if not 0 <= options.tolerance_factor < math.inf:
        detail = "tolerance_factor must be a finite number, 0 or more."
        raise InvalidOption(detail, [Fact(detail, "invalid_option", pointer="/tolerance_factor")])
