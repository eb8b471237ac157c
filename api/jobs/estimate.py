"""Estimates of the time that a job takes, made before it begins."""

from __future__ import annotations

from typing import assert_never

from api.jobs.inputs import FitInputs, MappingInputs
from api.store.fits import Fit
from api.store.sketches import may_have_sketches
from services.bounds.sketch import N_VECTORS, row_type

PRODUCTS_PER_SECOND = 1e10
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
    """Estimate the seconds that a fit takes at least (docs/operations.md).

    Only the fit itself shows whether sketches or the cache spare reading the library; if they do
    not, `estimate_ranking` tells what is to come.
    """
    fit = inputs.job
    matches = fit.n_training * min(fit.top_k, fit.n_ideal) / MATCHES_PER_SECOND
    training = 8 * fit.n_training * inputs.training.dataset.n_points / BYTES_PER_SECOND
    if inputs.ideal.indices is None and may_have_sketches(fit.n_ideal, inputs.grid.size):
        product = fit.n_training * fit.n_ideal * N_VECTORS / PRODUCTS_PER_SECOND
        reading = fit.n_ideal * row_type(N_VECTORS).itemsize / BYTES_PER_SECOND
        return matches + training + product + reading
    return matches + training + estimate_ranking(inputs, fit.n_training, is_cached=True)


def estimate_ranking(inputs: FitInputs, n_training: int, *, is_cached: bool) -> float:
    """Estimate the seconds in which training curves are compared with all of a library.

    `is_cached` says that no value of the library need be read.
    """
    values = inputs.job.n_ideal * inputs.grid.size
    reading = 0 if is_cached else 8 * values / BYTES_PER_SECOND
    return n_training * values / estimate_rate(inputs.job) + reading


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
