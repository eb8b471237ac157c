"""Pairs of few curves: expanded squares propose, without any description of the curves.

docs/bounds.md, 7. For four training curves and fifty of a library the time goes into calls,
not into numbers, so there are few calls here.
"""

from __future__ import annotations

import numpy as np

from services.bounds.rounding import radius
from services.scoring.options import FitOptions
from services.scoring.ranking import sort_key
from services.scoring.scores import Figures
from services.scoring.training import Group, Pairs, Scored, plain
from services.tables import FloatArray

_DOUBLE = 2.0**-53

_LARGEST = 2.0**500
"""Squares above it are left to the plain scores."""

_UNDERFLOW = 2.0**-900
"""More than underflow can take."""

Compared = tuple[FloatArray, FloatArray, float, int]
"""Likeness of all pairs, squares of the training curves, largest of the library's, and points."""


def few(
    group: Group, curves: FloatArray, limit: FloatArray, options: FitOptions
) -> tuple[Scored, Figures | None]:
    """Pairs within a limit that could be among the best.

    Parameters
    ----------
    group : Group
        k training curves.
    curves : ndarray of shape (m, n)
        Library curves. [unit of y]
    limit : ndarray of shape (k,)
        Scores that must not be exceeded.
    options : FitOptions
        How curves are compared.

    Returns
    -------
    scored : tuple of three ndarray
        Rows of the training curves, ascending; rows of the library curves; scores.
    figures : ndarray of FIGURES or None
        Of the same pairs, where they have been needed and there is one for each training curve.
    """
    if (options.criterion, options.transform) == ("sse", "none") and options.top_k == 1:
        with np.errstate(all="ignore"):
            compared = compare(group.y, group.read(curves))
            if compared is not None:
                rows, likely = np.arange(len(limit)), compared[0].argmax(axis=1)
                found = group.figures(rows, curves[likely], options)
                score = found["score"]
                near, columns = within(compared, np.minimum(limit, sort_key(score)), options)
                if columns.tolist() == likely.tolist() and near.tolist() == rows.tolist():
                    return (rows, likely, score), found
                return (near, columns, group.scores(near, curves[columns], options)), None
    return plain(group, curves, limit, options), None


def compare(y: FloatArray, f: FloatArray) -> Compared | None:
    """Compare curves by expanded squares.

    Parameters
    ----------
    y : ndarray of shape (k, n)
        Training curves. [unit of y]
    f : ndarray of shape (m, n)
        Library curves. [unit of y]

    Returns
    -------
    Compared or None
        None where they are too large, or have gaps.
    """
    own, squares = np.vecdot(y, y), np.vecdot(f, f)
    largest = np.maximum.reduce(squares)
    if not largest + np.maximum.reduce(own) < _LARGEST:
        return None
    likeness = y @ f.T
    likeness -= 0.5 * squares
    return likeness, own, largest, y.shape[1]


def within(compared: Compared, limit: FloatArray, options: FitOptions) -> Pairs:
    """Pairs whose score can be within a limit.

    Parameters
    ----------
    compared : Compared
        k training curves and m of a library.
    limit : ndarray of shape (k,)
        Scores that must not be exceeded.
    options : FitOptions
        How curves are compared: by ``sse``, no transform.

    Returns
    -------
    tuple of two ndarray
        Rows of the training curves, ascending, and rows of the library curves.
    """
    likeness, own, largest, n = compared
    square = radius(limit, n, options)
    square *= square
    rounding = (2 * n + 20) * _DOUBLE
    floor = 0.5 * (own - square) - rounding * (own + largest + square) - _UNDERFLOW
    rows, columns = (~(likeness < floor[:, np.newaxis])).nonzero()
    return rows, columns
