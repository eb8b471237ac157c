"""The step `baseline` with a `degree`: a least-squares polynomial is taken away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from services.grids import IndexArray
from services.powers import factor_out, put_back
from services.preparing.planned import (
    Planned,
    apply_to_numbers,
    fail_unless_finite,
    measure_span,
    refuse_parameter,
    sum_rows,
)
from services.tables import FloatArray

MOST_DEGREE = 7
"""Highest degree of the polynomial."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Each curve less the polynomial that fits it best.

    Parameters
    ----------
    degree : int
        0 to 7.
    """

    name: ClassVar[str] = "baseline"

    degree: int

    def check(self) -> None:
        """Raise InvalidOption for a degree out of its range."""
        if not 0 <= self.degree <= MOST_DEGREE:
            raise refuse_parameter("degree", f"Give a `degree` from 0 to {MOST_DEGREE}.")

    def plan(self, x: FloatArray) -> Planned:
        """Plan the step.

        Parameters
        ----------
        x : ndarray of shape (n,)
            Ascending. [unit of x]
        """
        measure_span(x)

        def remove(y: FloatArray, columns: IndexArray) -> FloatArray:
            y, shift = factor_out(y)
            rest = y - y[:, :1]
            basis = _make_basis(x[columns], self.degree)
            for _ in range(2):
                for polynomial in basis:
                    share = sum_rows(rest * polynomial) / np.sum(polynomial * polynomial)
                    rest -= share[:, np.newaxis] * polynomial
            return put_back(fail_unless_finite(rest), shift)

        # One number more than the polynomial has coefficients, or nothing would be left.
        least = self.degree + 2
        return Planned(x, lambda y: apply_to_numbers(y, least, remove), np.arange(x.size))


def _make_basis(x: FloatArray, degree: int) -> list[FloatArray]:
    """Make polynomials that are orthogonal on x, by Gram-Schmidt, twice each."""
    low, high = x[0], x[-1]
    u = ((x - low) - (high - x)) / (high - low)
    basis = [np.ones(x.size)]
    for _ in range(degree):
        polynomial = u * basis[-1]
        for _ in range(2):
            for one in basis:
                share = np.sum(polynomial * one) / np.sum(one * one)
                polynomial = polynomial - share * one
        basis.append(polynomial)
    return basis
