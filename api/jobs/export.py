"""Exports: everything a mapping stands on, in one file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from api.jobs.common import Progress, silent
from api.jobs.inputs import read_fit_inputs, read_mapping_inputs
from api.store.base import find
from api.store.datasets import read_table
from api.store.fits import chosen
from api.store.jobs import require_succeeded
from api.store.mappings import ItemFilter, Mapping, point_columns, stream_items
from services.export.project import MOST_CURVES
from services.tables import Table


def export_parts(
    session: Session, mapping_id: str, progress: Progress = silent
) -> tuple[Table, Table, Table, Iterator[list[tuple[Any, ...]]]]:
    """Training, library and test of a mapping, and what was mapped."""
    mapping = find(session, Mapping, mapping_id)
    require_succeeded(mapping, "exported")
    inputs = read_mapping_inputs(session, mapping)
    fit = read_fit_inputs(session, inputs.fit)
    library = fit.ideal
    if library.size > MOST_CURVES:
        indices = np.unique([match.ideal_index for match in chosen(session, fit.job)])
        library = replace(library, indices=indices, names=None)
    return (
        read_table(session, fit.training),
        read_table(session, library),
        read_table(session, inputs.test),
        _mapped_rows(session, mapping, progress),
    )


def _mapped_rows(
    session: Session, record: Mapping, progress: Progress
) -> Iterator[list[tuple[Any, ...]]]:
    """X, Y, DeltaY, IdealFunction, TrainingFunction of each item, a block at a time."""
    total = record.n_assignments + record.unmapped_points
    for places, items in stream_items(session, record, ItemFilter()):
        named = point_columns(items, record.columns, record.functions)
        fields = (named[name] for name in ("x", "y", "deviation", "ideal", "training"))
        yield list(zip(*fields, strict=True))
        progress(int(places[-1]) + 1, total)
