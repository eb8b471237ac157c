"""How long a job may take, estimated before it begins."""

from __future__ import annotations

from typing import assert_never

from sqlalchemy.orm import Session

from api.store.base import find
from api.store.datasets import Dataset
from api.store.fits import Fit
from api.store.jobs import Job
from api.store.mappings import Mapping

PRODUCTS_PER_SECOND = 4e9
"""Training curves times library curves times points that `sse` needs no differences for."""


DIFFERENCES_PER_SECOND = 2.5e8
"""The same where each pair is compared point by point; half as many with a transform."""


LOOKUPS_PER_SECOND = 4e6
"""Points of a mapping times functions, with what it takes to store them."""


MATCHES_PER_SECOND = 2e4
"""Matches of a fit, with their figures."""


BYTES_PER_SECOND = 3e8
"""Values read from the database."""


def estimate(session: Session, job: Job) -> float:
    """Estimate the seconds that a job takes (docs/operations.md)."""
    if isinstance(job, Mapping):
        functions = find(session, Fit, job.fit_id).n_training
        return job.n_points * ((functions + 1) / LOOKUPS_PER_SECOND + 8 / BYTES_PER_SECOND)
    assert isinstance(job, Fit)  # noqa: S101 - there are two kinds
    points = find(session, Dataset, job.ideal_id).n_points
    read = job.n_ideal * points + job.n_training * find(session, Dataset, job.training_id).n_points
    return (
        job.n_training * job.n_ideal * points / rate(job)
        + job.n_training * min(job.top_k, job.n_ideal) / MATCHES_PER_SECOND
        + 8 * read / BYTES_PER_SECOND
    )


def rate(fit: Fit) -> float:
    """Training curves times library curves times points that a second is enough for."""
    options = fit.options
    match options.criterion:
        case "sse":
            return PRODUCTS_PER_SECOND
        case "mae" | "max":
            plain = options.transform == "none"
            return DIFFERENCES_PER_SECOND if plain else DIFFERENCES_PER_SECOND / 2
        case _:
            assert_never(options.criterion)
