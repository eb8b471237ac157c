"""Estimates of the time that a job takes, made before it begins."""

from __future__ import annotations

from typing import assert_never

from api.jobs.inputs import FitInputs, MappingInputs
from api.store.fits import Fit

PRODUCTS_PER_SECOND = 4e9
"""Training curves × library curves × points that `sse` multiplies in a second."""


DIFFERENCES_PER_SECOND = 2.5e8
"""The same for pairs that are compared point by point; a transform takes twice as long."""


LOOKUPS_PER_SECOND = 4e6
"""Points of a mapping × functions in a second, storing included."""


MATCHES_PER_SECOND = 2e4
"""Matches of a fit that get their figures in a second."""


BYTES_PER_SECOND = 3e8
"""Bytes of values read from the database in a second."""


def estimate_fit(inputs: FitInputs) -> float:
    """Estimate the seconds that a fit takes (docs/operations.md)."""
    fit, points = inputs.job, inputs.grid.size
    values = fit.n_ideal * points + fit.n_training * inputs.training.dataset.n_points
    return (
        fit.n_training * fit.n_ideal * points / estimate_rate(fit)
        + fit.n_training * min(fit.top_k, fit.n_ideal) / MATCHES_PER_SECOND
        + 8 * values / BYTES_PER_SECOND
    )


def estimate_mapping(inputs: MappingInputs) -> float:
    """Estimate the seconds that a mapping takes (docs/operations.md)."""
    seconds = (inputs.fit.n_training + 1) / LOOKUPS_PER_SECOND + 8 / BYTES_PER_SECOND
    return inputs.job.n_points * seconds


def estimate_rate(fit: Fit) -> float:
    """Return the training curves × library curves × points that a second is enough for."""
    options = fit.options
    match options.criterion:
        case "sse":
            return PRODUCTS_PER_SECOND
        case "mae" | "max":
            plain = options.transform == "none"
            return DIFFERENCES_PER_SECOND if plain else DIFFERENCES_PER_SECOND / 2
        case _:
            assert_never(options.criterion)
