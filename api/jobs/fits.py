"""Fits as jobs: planned, checked, computed."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from api.inforce import limits
from api.jobs.common import Answer, Progress, fields_of, find_named, queued_columns
from api.jobs.inputs import ideal_of, training_of
from api.jobs.rankers import NUMPY, Ranker
from api.store.base import find
from api.store.datasets import Dataset, Selection, curve_indices, curve_names, read_grid, read_table
from api.store.fits import Fit, add_matches
from services import grids
from services.errors import Fact, InvalidOption
from services.fitting.fit import PreparedFit, finish, prepare, require_finite
from services.scoring.options import FitOptions
from services.tables import FloatArray, Table


def plan_fit(session: Session, request: dict[str, Any]) -> Fit:
    """The record of a fit as the body of `POST /v1/fits` asks for it."""
    training = _select(session, request, "training")
    ideal = _select(session, request, "ideal")
    grid = read_grid(session, ideal.dataset)
    options = _fit_options(request, grid, ideal.dataset.x_column)
    _refuse_many(training.size * min(options.top_k, ideal.size))
    return Fit(
        **queued_columns(session, ideal.size),
        name=request.get("name") or f"{training.dataset.name} / {ideal.dataset.name}"[:200],
        training_id=training.dataset.id,
        ideal_id=ideal.dataset.id,
        training_curves=request.get("training_curves") and training.names,
        ideal_curves=request.get("ideal_curves") and ideal.names,
        **fields_of(options),
        training_sha256=training.dataset.sha256,
        ideal_sha256=ideal.dataset.sha256,
        n_training=training.size,
        n_ideal=ideal.size,
        engine=NUMPY,
    )


def check_grids(session: Session, fit: Fit) -> None:
    """Refuse a fit whose grids alone show that it cannot be done."""
    training, ideal = training_of(session, fit), ideal_of(session, fit)
    options = fit.options
    if training.dataset.n_gaps:
        # Only the values show whether anything is missing at an x that the library lacks.
        options = replace(options, outside="omit")
    x = read_grid(session, training.dataset)
    first = training.positions[:1]
    names = tuple(curve_names(session, training.dataset, first.tolist()).values())
    table = Table(x, np.zeros((1, x.size)), names, training.dataset.x_column)
    prepare(table, first, read_grid(session, ideal.dataset), options)


def compute_fit(session: Session, fit: Fit, progress: Progress, ranker: Ranker) -> Answer:
    prepared = prepare_fit(session, fit)
    ranking, by = ranker.rank(session, fit, prepared, progress)
    matches = finish(prepared, ranking)
    training = find(session, Dataset, fit.training_id)
    ideal = find(session, Dataset, fit.ideal_id)
    training_names = curve_names(session, training, {m.training_index for m in matches})
    ideal_names = curve_names(session, ideal, {m.ideal_index for m in matches})
    require_finite(matches, training_names, ideal_names)

    def add_rows(session: Session) -> None:
        add_matches(session, fit, matches, training_names, ideal_names)

    return Answer({"engine": by}, add_rows)


def prepare_fit(session: Session, fit: Fit) -> PreparedFit:
    """The training curves of a fit, ready to be compared with the library."""
    training, ideal = training_of(session, fit), ideal_of(session, fit)
    grid = read_grid(session, ideal.dataset)
    return prepare(read_table(session, training), training.positions, grid, fit.options)


def _select(session: Session, request: dict[str, Any], role: str) -> Selection:
    """The curves of one side of a fit; ids and names are checked."""
    dataset = find_named(session, Dataset, request, f"{role}_id")
    names = request.get(f"{role}_curves")
    if names is None:
        return Selection(dataset, dataset.n_curves)
    # The names are distinct, so one more than there are curves has an unknown one among them.
    names = names[: dataset.n_curves + 1]
    found = curve_indices(session, dataset, names)
    unknown = (place for place, name in enumerate(names) if name not in found)
    facts = [
        Fact(
            f"{dataset.name} has no curve {names[place]!r}.",
            "unknown_curve",
            pointer=f"/{role}_curves/{place}",
        )
        for place in islice(unknown, grids.FIRST_FEW)
    ]
    if facts:
        raise InvalidOption(facts[0].detail, facts)
    ordered = sorted(found, key=found.__getitem__)
    indices = np.array([found[name] for name in ordered], dtype=np.intp)
    return Selection(dataset, dataset.n_curves, indices, ordered)


def _fit_options(request: dict[str, Any], grid: FloatArray, x_name: str) -> FitOptions:
    """Options as used: the tolerance is a number, unless alignment is linear."""
    options = FitOptions(**{name: request[name] for name in FitOptions.__slots__})
    grids.check_tolerance(options.alignment, options.x_tolerance)
    grids.check_grid(grid, "library", x_name)
    if options.alignment == "exact" and options.x_tolerance is None:
        return replace(options, x_tolerance=grids.default_tolerance(grid))
    return options


def _refuse_many(matches: int) -> None:
    most = limits().matches
    if matches > most:
        detail = f"That would be {matches} matches; a fit keeps {most}. Ask for a smaller top_k."
        raise InvalidOption(detail, [Fact(detail, "too_many", pointer="/top_k")])
