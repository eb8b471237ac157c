"""Records, grids and curve lists that a job needs, each read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
from sqlalchemy.orm import Session

from api.jobs.common import J
from api.store.base import find
from api.store.datasets import Dataset, Selection, curve_indices, find_with_grids
from api.store.fits import Fit
from api.store.mappings import Mapping
from services.tables import FloatArray


@dataclass(frozen=True)
class Inputs(Generic[J]):
    """Base class: a job with everything it needs except the values of curves."""

    job: J


@dataclass(frozen=True)
class FitInputs(Inputs[Fit]):
    """A fit, its training curves and its library."""

    training: Selection
    ideal: Selection


@dataclass(frozen=True)
class MappingInputs(Inputs[Mapping]):
    """A mapping, its fit, the library of the fit and the test curves."""

    fit: Fit
    ideal: Dataset
    grid: FloatArray
    test: Selection


def read_fit_inputs(session: Session, fit: Fit) -> FitInputs:
    """Read the curves that a fit was made with, without those appended later."""
    training, ideal = find_with_grids(session, fit.training_id, fit.ideal_id)
    return FitInputs(
        fit,
        _select(session, *training, fit.training_curves, fit.n_training),
        _select(session, *ideal, fit.ideal_curves, fit.n_ideal),
    )


def _select(
    session: Session, dataset: Dataset, x: FloatArray, names: Sequence[str] | None, count: int
) -> Selection:
    if names is None:
        return Selection(dataset, x, count)
    found = curve_indices(session, dataset, names)
    indices = np.array([found[name] for name in names], dtype=np.intp)
    return Selection(dataset, x, dataset.n_curves, indices, names)


def read_mapping_inputs(session: Session, mapping: Mapping) -> MappingInputs:
    """Read the data that a mapping was made with, without curves appended later."""
    fit = find(session, Fit, mapping.fit_id)
    (test, x), (ideal, grid) = find_with_grids(session, mapping.test_id, fit.ideal_id)
    curves = Selection(test, x, len(mapping.columns), names=mapping.columns)
    return MappingInputs(mapping, fit, ideal, grid, curves)
