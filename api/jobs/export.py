"""Exports: everything a mapping stands on, in one file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from api.jobs.common import Progress, silent
from api.jobs.inputs import ideal_of, training_of
from api.store.base import find
from api.store.datasets import Dataset, Selection, read_table
from api.store.fits import Fit, chosen
from api.store.jobs import require_succeeded
from api.store.mappings import ItemFilter, Mapping, point_columns, stream_items
from services.export.project import MOST_CURVES
from services.tables import Table


def export_parts(
    session: Session, mapping_id: str, progress: Progress = silent
) -> tuple[Table, Table, Table, Iterator[list[tuple[Any, ...]]]]:
    """Training, library and test of a mapping, and what was mapped."""
    record = find(session, Mapping, mapping_id)
    require_succeeded(record, "exported")
    fit = find(session, Fit, record.fit_id)
    library = ideal_of(session, fit)
    if library.size > MOST_CURVES:
        indices = np.unique([match.ideal_index for match in chosen(session, fit)])
        library = Selection(library.dataset, library.dataset.n_curves, indices)
    test = find(session, Dataset, record.test_id)
    return (
        read_table(session, training_of(session, fit)),
        read_table(session, library),
        read_table(session, Selection(test, len(record.columns))),
        _mapped_rows(session, record, progress),
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
