"""Records, grids and curve lists that a job needs, each read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np
from sqlalchemy.orm import Session

from api.jobs.common import J
from api.store.base import find
from api.store.datasets import Dataset, find_curves, read_datasets
from api.store.fits import Fit
from api.store.mappings import Mapping
from api.store.selections import Selection, read_x
from services.tables import FloatArray


@dataclass(frozen=True)
class Inputs(Generic[J]):
    """Base class: a job with everything it needs except the values of curves."""

    job: J


@dataclass(frozen=True)
class FitInputs(Inputs[Fit]):
    """A fit, its training curves, its library and the x column of that."""

    training: Selection
    ideal: Selection
    grid: FloatArray


@dataclass(frozen=True)
class MappingInputs(Inputs[Mapping]):
    """A mapping, its fit, the library of the fit and the test curves."""

    fit: Fit
    ideal: Dataset
    grid: FloatArray
    test: Selection


def read_fit_inputs(session: Session, fit: Fit) -> FitInputs:
    """Read the curves that a fit was made with, without those appended later."""
    found = read_datasets(session, fit.training_id, fit.ideal_id)
    training = _select(session, *found[fit.training_id], fit.training_curves, fit.n_training)
    ideal = _select(session, *found[fit.ideal_id], fit.ideal_curves, fit.n_ideal)
    grid = read_x(session, *found[fit.ideal_id])
    return FitInputs(fit, training, replace(ideal, x=grid), grid)


def _select(
    session: Session,
    dataset: Dataset,
    x: FloatArray | None,
    names: Sequence[str] | None,
    count: int,
) -> Selection:
    if names is None:
        return Selection(dataset, x, count)
    found = find_curves(session, dataset, names)
    indices = np.array([found[name] for name in names], dtype=np.intp)
    return Selection(dataset, x, dataset.n_curves, indices, names)


def read_mapping_inputs(session: Session, mapping: Mapping) -> MappingInputs:
    """Read the data that a mapping was made with, without curves appended later."""
    fit = find(session, Fit, mapping.fit_id)
    found = read_datasets(session, mapping.test_id, fit.ideal_id)
    test = Selection(*found[mapping.test_id], len(mapping.columns), names=mapping.columns)
    ideal, x = found[fit.ideal_id]
    return MappingInputs(mapping, fit, ideal, read_x(session, ideal, x), test)
