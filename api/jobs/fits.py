"""Fits as jobs: planned, checked, computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from api.jobs.common import Answer, list_fields, make_queued_columns, refuse_id
from api.jobs.inputs import FitInputs
from api.jobs.rankers import NUMPY
from api.jobs.tools import Tools
from api.limits import limits_in_force
from api.store.base import NotFound
from api.store.datasets import Dataset, find_curves, read_curve_names, read_datasets
from api.store.fits import Fit, add_matches
from api.store.selections import Selection, read_table, read_x
from services import grids
from services.errors import Fact, InvalidOption
from services.fitting.fit import finish, require_finite
from services.fitting.prepare import PreparedFit, prepare
from services.scoring.options import FitOptions
from services.tables import FloatArray, Table


def plan_fit(session: Session, request: dict[str, Any]) -> FitInputs:
    """Make the record of a fit from the body of `POST /v1/fits`; nothing is stored."""
    found = read_datasets(session, request["training_id"], request["ideal_id"])
    training = _select(session, found, request, "training")
    ideal = _select(session, found, request, "ideal")
    grid = read_x(session, ideal.dataset, ideal.x)
    options = _fit_options(request, grid, ideal.dataset.x_column)
    _refuse_many(training.size * min(options.top_k, ideal.size))
    fit = Fit(
        **make_queued_columns(session, ideal.size),
        name=request.get("name") or f"{training.dataset.name} / {ideal.dataset.name}"[:200],
        training_id=training.dataset.id,
        ideal_id=ideal.dataset.id,
        training_curves=training.names,
        ideal_curves=ideal.names,
        **list_fields(options),
        training_sha256=training.dataset.sha256,
        ideal_sha256=ideal.dataset.sha256,
        n_training=training.size,
        n_ideal=ideal.size,
        engine=NUMPY,
    )
    return FitInputs(fit, training, replace(ideal, x=grid), grid)


def check_fit(session: Session, inputs: FitInputs) -> None:
    """Refuse a fit whose grids alone show that it cannot be done."""
    training, options = inputs.training, inputs.job.options
    if training.dataset.n_gaps:
        # Only the values show whether anything is missing at an x that the library lacks.
        options = replace(options, outside="omit")
    first = training.positions[:1]
    names = tuple(read_curve_names(session, training.dataset, first.tolist()).values())
    x = read_x(session, training.dataset, training.x)
    table = Table(x, np.zeros((1, x.size)), names, training.dataset.x_column)
    prepare(table, first, inputs.grid, options)


def compute_fit(session: Session, inputs: FitInputs, tools: Tools) -> Answer:
    """Find the matches of a fit."""
    prepared = prepare_fit(session, inputs)
    ranking, computed_by = tools.ranker.rank(session, inputs, prepared, tools.watch)
    matches = finish(prepared, ranking)
    positions = prepared.training_indices.tolist()
    training_names = dict(zip(positions, prepared.names, strict=True))
    found = {match.ideal_index for match in matches}
    ideal_names = read_curve_names(session, inputs.ideal.dataset, found)
    require_finite(matches, training_names, ideal_names)

    def add_rows(session: Session) -> None:
        add_matches(session, inputs.job, matches, training_names, ideal_names)

    return Answer({"engine": computed_by}, add_rows)


def prepare_fit(session: Session, inputs: FitInputs) -> PreparedFit:
    """Read the training curves of a fit and pair them with the grid of its library."""
    training = inputs.training
    table = read_table(session, training)
    return prepare(table, training.positions, inputs.grid, inputs.job.options)


def _select(
    session: Session,
    found: Mapping[str, tuple[Dataset, FloatArray | None]],
    request: dict[str, Any],
    role: str,
) -> Selection:
    """Select the curves of one side of a fit: those that the body names, or all."""
    dataset_id, field = request[f"{role}_id"], f"{role}_curves"
    if dataset_id not in found:
        raise refuse_id(NotFound("dataset", dataset_id), f"{role}_id")
    dataset, x = found[dataset_id]
    names = request.get(field)
    if names is None:
        return Selection(dataset, x, dataset.n_curves)
    # The names are distinct, so one more than there are curves has an unknown one among them.
    names = names[: dataset.n_curves + 1]
    places = find_curves(session, dataset, names)
    unknown = (place for place, name in enumerate(names) if name not in places)
    facts = [
        Fact(
            f"{dataset.name} has no curve {names[place]!r}.",
            "unknown_curve",
            pointer=f"/{field}/{place}",
        )
        for place in islice(unknown, grids.FIRST_FEW)
    ]
    if facts:
        raise InvalidOption(facts[0].detail, facts)
    ordered = sorted(places, key=places.__getitem__)
    indices = np.array([places[name] for name in ordered], dtype=np.intp)
    return Selection(dataset, x, dataset.n_curves, indices, ordered)


def _fit_options(request: dict[str, Any], grid: FloatArray, x_name: str) -> FitOptions:
    """Make the options of a fit; the tolerance is a number unless alignment is linear."""
    options = FitOptions(**{name: request[name] for name in FitOptions.__slots__})
    grids.check_tolerance(options.alignment, options.x_tolerance)
    grids.check_grid(grid, "library", x_name)
    if options.alignment == "exact" and options.x_tolerance is None:
        return replace(options, x_tolerance=grids.default_tolerance(grid))
    return options


def _refuse_many(matches: int) -> None:
    most = limits_in_force().matches
    if matches > most:
        detail = f"That would be {matches} matches; a fit keeps {most}. Ask for a smaller top_k."
        raise InvalidOption(detail, [Fact(detail, "too_many", pointer="/top_k")])
