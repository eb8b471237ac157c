"""Options of a mapping."""

from __future__ import annotations

import math
from dataclasses import dataclass

from services import grids
from services.choices import AlignmentKind, Policy
from services.errors import Fact, InvalidOption


@dataclass(frozen=True, slots=True)
class MapOptions:
    """Options of a mapping, in the words of the contract.

    Parameters
    ----------
    policy : str
        Functions that get a point: ``all`` that admit it, the ``nearest`` or the ``first``.
    tolerance_factor : float
        The limit over the largest deviation of the fit, 0 or more.
    alignment : str
        ``exact`` or ``linear``.
    x_tolerance : float or None
        For exact alignment; None is the default of `grids.default_tolerance`. [unit of x]
    """

    policy: Policy = "all"
    tolerance_factor: float = math.sqrt(2)
    alignment: AlignmentKind = "exact"
    x_tolerance: float | None = None


def check_options(options: MapOptions) -> None:
    """Raise InvalidOption for options out of their range."""
    grids.check_tolerance(options.alignment, options.x_tolerance)
    if not 0 <= options.tolerance_factor < math.inf:
        detail = "tolerance_factor must be a finite number, 0 or more."
        raise InvalidOption(detail, [Fact(detail, "invalid_option", pointer="/tolerance_factor")])
