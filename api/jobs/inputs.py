"""The curves that a fit compares, by its record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy.orm import Session

from api.store.base import find
from api.store.datasets import Dataset, Selection, curve_indices
from api.store.fits import Fit


def training_of(session: Session, fit: Fit) -> Selection:
    """The training curves a fit was made with, whatever was appended since."""
    return _as_then(session, fit.training_id, fit.training_curves, fit.n_training)


def ideal_of(session: Session, fit: Fit) -> Selection:
    """The library curves a fit was made with, whatever was appended since."""
    return _as_then(session, fit.ideal_id, fit.ideal_curves, fit.n_ideal)


def _as_then(
    session: Session, dataset_id: str, names: Sequence[str] | None, count: int
) -> Selection:
    dataset = find(session, Dataset, dataset_id)
    if names is None:
        return Selection(dataset, count)
    found = curve_indices(session, dataset, names)
    return Selection(dataset, dataset.n_curves, np.array([found[name] for name in names]), names)
