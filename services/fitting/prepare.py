"""A fit before its library is read: its options checked, its training curves paired with a grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from services import grids
from services.errors import Fact, GridError, InvalidOption, NoFit
from services.grids import Alignment, BoolArray, IndexArray
from services.scoring.options import FitOptions
from services.scoring.training import Group, make_groups
from services.tables import FloatArray, Table

PAIRS_SCORED_PLAINLY = 4000
"""Largest number of pairs of a piece that are all scored; describing them would take longer."""

KEPT_BYTES = 64 << 20
"""Most bytes of chosen curves kept until the end, when their figures are computed; if there can be
more, figures are computed piece by piece."""


@dataclass(frozen=True, slots=True)
class PreparedFit:
    """A fit ready to be compared with the pieces of its library.

    Parameters
    ----------
    options : FitOptions
    training_indices : ndarray of shape (k,)
        Position of each training curve in its dataset.
    names : tuple of k str
        Names of the training curves.
    groups : tuple of Group
        The curves, grouped by the rows at which they have pairs.
    n_numbers : ndarray of shape (k,)
        Numbers of each training curve, whether the library covers their x or not.
    pairs_scored_plainly, kept_bytes : int
        See the constants; they change time and memory, never an answer.
    """

    options: FitOptions
    training_indices: IndexArray
    names: tuple[str, ...]
    groups: tuple[Group, ...]
    n_numbers: IndexArray
    pairs_scored_plainly: int = PAIRS_SCORED_PLAINLY
    kept_bytes: int = KEPT_BYTES

    @property
    def is_on_grid(self) -> bool:
        """Whether all training curves have numbers at all x of the library's grid."""
        return len(self.groups) == 1 and self.groups[0].on_grid is not None

    @property
    def is_subset_of_grid(self) -> bool:
        """Whether each x of the training curves is one of the library's grid."""
        return all(group.is_subset_of_grid for group in self.groups)

    def select(self, rows: IndexArray) -> PreparedFit:
        """Select some of the training curves, ascending."""
        if len(rows) == len(self.names):
            return self
        place = np.full(len(self.names), -1, np.intp)
        place[rows] = np.arange(len(rows))
        groups = tuple(one for group in self.groups if (one := group.move(place)) is not None)
        names = tuple(self.names[row] for row in rows.tolist())
        return replace(
            self,
            training_indices=self.training_indices[rows],
            names=names,
            groups=groups,
            n_numbers=self.n_numbers[rows],
        )


def prepare(
    training: Table, training_indices: IndexArray, grid: FloatArray, options: FitOptions
) -> PreparedFit:
    """Check a fit and pair its training curves with the library's grid.

    Parameters
    ----------
    training : Table
        k training curves.
    training_indices : ndarray of shape (k,)
        Position of each in its dataset, ascending.
    grid : ndarray of shape (n,)
        The library's x column. [unit of x]
    options : FitOptions

    Raises
    ------
    GridError
        An x column is no grid, or the library does not cover a training x.
    NoFit
        A training curve has no pair.
    InvalidOption
        An option is out of its range.
    """
    _check_options(options)
    grids.check_grid(training.x, "training", training.x_name)
    grids.check_grid(grid, "library")
    alignment = grids.align(training.x, grid, options.alignment, options.x_tolerance)
    numbers = ~np.isnan(training.y)
    n_numbers = np.count_nonzero(numbers, axis=1)
    if not alignment.covered.all():
        match options.outside:
            case "reject":
                _refuse_outside(training, numbers, alignment, grid)
            case "omit":
                pass
            case _:
                assert_never(options.outside)
        numbers &= alignment.covered
    if not numbers.all():
        _refuse_empty(training.names, numbers)
    groups = make_groups(training.y, numbers, alignment, grid.size)
    return PreparedFit(options, training_indices, training.names, groups, n_numbers)


def _check_options(options: FitOptions) -> None:
    grids.check_tolerance(options.alignment, options.x_tolerance)
    if not 0 < options.min_overlap <= 1:
        detail = "min_overlap must be above 0 and at most 1."
        raise InvalidOption(detail, [Fact(detail, "invalid_option", pointer="/min_overlap")])
    if options.top_k < 1:
        detail = "top_k must be 1 or more."
        raise InvalidOption(detail, [Fact(detail, "invalid_option", pointer="/top_k")])


def _refuse_outside(
    training: Table, numbers: BoolArray, alignment: Alignment, grid: FloatArray
) -> None:
    missing = np.flatnonzero(numbers.any(axis=0) & ~alignment.covered)
    if not missing.size:
        return
    facts = []
    for row in missing[: grids.FIRST_FEW]:
        nearest = grid[np.argmin(np.abs(grid * 0.5 - training.x[row] * 0.5))]
        detail = (
            f"The library has no {training.x_name} = {float(training.x[row])!r};"
            f" its nearest is {float(nearest)!r}."
        )
        facts.append(Fact(detail, "x_not_covered", row=int(row), column=training.x_name))
    raise GridError(
        f"The library does not cover {missing.size} of the {training.x.size} training x."
        f" {facts[0].detail} Use alignment=linear to read the library between its x, a larger"
        " x_tolerance, or outside=omit to leave out such points.",
        facts,
    )


def _refuse_empty(names: tuple[str, ...], numbers: BoolArray) -> None:
    facts = [
        Fact(
            f"{names[position]} has no number at an x of the library. Use alignment=linear to read"
            " the library between its x.",
            "no_pair",
            column=names[position],
        )
        for position in np.flatnonzero(~numbers.any(axis=1))[: grids.FIRST_FEW]
    ]
    if facts:
        raise NoFit(f"{facts[0].detail} There is nothing to compare.", facts)
