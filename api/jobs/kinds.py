"""The kinds of job: fits and mappings, which a request makes, and exports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy.orm import Session

from api.jobs.common import Answer, J
from api.jobs.estimate import estimate_fit, estimate_mapping
from api.jobs.fits import check_fit, compute_fit, plan_fit
from api.jobs.inputs import FitInputs, Inputs, MappingInputs, read_fit_inputs, read_mapping_inputs
from api.jobs.mappings import check_mapping, compute_mapping, plan_mapping
from api.jobs.tools import Tools
from api.store.exports import Export
from api.store.fits import Fit
from api.store.jobs import Job
from api.store.mappings import Mapping

I = TypeVar("I", bound=Inputs[Any])  # noqa: E741 - an input has no better letter


@dataclass(frozen=True, slots=True)
class JobKind(Generic[J, I]):
    """Functions for the jobs of one table."""

    plan: Callable[[Session, dict[str, Any]], I]
    """Makes the record that a body asks for; refuses what ids, names and options show."""

    read: Callable[[Session, J], I]
    """Reads what a stored job needs."""

    estimate: Callable[[I], float]
    """Estimates the seconds that a job takes."""

    check: Callable[[Session, I], None]
    """Refuses what can be refused before a worker begins."""

    compute: Callable[[Session, I, Tools], Answer]
    """Computes the answer."""


FITS: JobKind[Fit, FitInputs] = JobKind(
    plan_fit, read_fit_inputs, estimate_fit, check_fit, compute_fit
)
MAPPINGS: JobKind[Mapping, MappingInputs] = JobKind(
    plan_mapping, read_mapping_inputs, estimate_mapping, check_mapping, compute_mapping
)

KINDS: dict[type[Job], JobKind[Any, Any]] = {Fit: FITS, Mapping: MAPPINGS}
"""The kinds of job that a request makes."""

JOBS: tuple[type[Job], ...] = (*KINDS, Export)
"""The tables of jobs."""
