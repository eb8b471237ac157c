"""The pieces that work is cut into: some curves of a library, all of their points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.tables import FloatArray


@dataclass(frozen=True, slots=True)
class Block:
    """Some curves of one dataset.

    Parameters
    ----------
    indices : ndarray of shape (m,)
        Position of each curve in its dataset, ascending.
    y : ndarray of shape (m, n)
        One curve a row, C-contiguous; NaN is a gap. [unit of y]
    """

    indices: NDArray[np.intp]
    y: FloatArray
