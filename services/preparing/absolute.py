"""The step `absolute`: magnitudes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from services.preparing.planned import Planned
from services.tables import FloatArray


@dataclass(frozen=True, slots=True)
class Absolute:
    """The magnitude of each number."""

    name: ClassVar[str] = "absolute"

    def check(self) -> None:
        """Do nothing: there is no parameter, or only a word."""

    def plan(self, x: FloatArray) -> Planned:
        """Plan the step.

        Parameters
        ----------
        x : ndarray of shape (n,)
            Ascending. [unit of x]
        """
        return Planned(x, np.abs, np.arange(x.size))
