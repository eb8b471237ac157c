"""Options of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from services.choices import AlignmentKind, Criterion, Outside, Sign, Transform


def fits_scale(transform: Transform) -> bool:
    """Tell whether a transform fits a scale to each library curve."""
    match transform:
        case "scale" | "affine":
            return True
        case "none" | "offset":
            return False
        case _:
            assert_never(transform)


def fits_offset(transform: Transform) -> bool:
    """Tell whether a transform fits an offset to each library curve."""
    match transform:
        case "offset" | "affine":
            return True
        case "none" | "scale":
            return False
        case _:
            assert_never(transform)


@dataclass(frozen=True, slots=True)
class FitOptions:
    """Options of a fit, in the words of the contract.

    Parameters
    ----------
    criterion : str
        ``sse``, ``mae`` or ``max``: the score that ranks, smaller is better.
    transform : str
        ``none``, ``offset``, ``scale`` or ``affine``: the family a library curve stands for.
    alignment : str
        ``exact`` or ``linear``: how a training x is found in the library's grid.
    x_tolerance : float or None
        For exact alignment; None is the default of `grids.default_tolerance`. [unit of x]
    outside : str
        ``reject`` or ``omit`` training x that the library does not cover.
    min_overlap : float
        Share of the pairs that a library curve with gaps must have, above 0 and at most 1.
    top_k : int
        Matches kept for each training curve.
    sign : str
        ``any`` or ``positive``: whether a fitted scale may be negative.
    """

    criterion: Criterion = "sse"
    transform: Transform = "none"
    alignment: AlignmentKind = "exact"
    x_tolerance: float | None = None
    outside: Outside = "reject"
    min_overlap: float = 1.0
    top_k: int = 1
    sign: Sign = "any"

    @property
    def places(self) -> int:
        """Curves to find: one more than are kept, because its score gives the last margin."""
        return self.top_k + 1
