"""Exports: one SQLite file of a mapping, written in the request or as a job.

A job writes the file first, then its blocks in short transactions, so that nobody who writes
waits for a large file, then the record. Each of these transactions asks whether the job is still
ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from sqlalchemy.orm import Session

from api.config import Settings
from api.disk import Disk
from api.jobs.common import Progress, report_nothing
from api.jobs.inputs import read_fit_inputs, read_mapping_inputs
from api.jobs.keeper import Held
from api.store import jobs
from api.store.base import Database, find, new_id
from api.store.datasets import Dataset
from api.store.exports import FILE_BLOCK, Export, add_block, keep_within
from api.store.fits import Fit, read_chosen
from api.store.jobs import (
    LARGE,
    SMALL,
    SMALL_SECONDS,
    Claim,
    Lost,
    read_clock,
    require_succeeded,
)
from api.store.labels import Label, read_labels
from api.store.mappings import ItemFilter, Mapping, stream_items
from api.store.selections import Selection, read_names
from api.store.values import X, stream_rows
from services.export.project import MOST_CURVES, Rows, spool_project

ROWS_PER_SECOND, VALUES_PER_SECOND = 5e5, 5e6
"""Rows and values of the three tables written in a second."""

ITEMS_PER_SECOND = 2e5
"""Assignments and unmapped points written in a second."""


def export_seconds(session: Session, mapping: Mapping) -> float:
    """Estimate the seconds that an export takes (docs/operations.md)."""
    fit = find(session, Fit, mapping.fit_id)
    training, ideal, test = (
        find(session, Dataset, dataset_id).n_points
        for dataset_id in (fit.training_id, fit.ideal_id, mapping.test_id)
    )
    library = fit.n_ideal if fit.n_ideal <= MOST_CURVES else min(fit.n_training, MOST_CURVES)
    values = training * fit.n_training + ideal * library + test * len(mapping.columns)
    items = mapping.n_assignments + mapping.unmapped_points
    rows = (training + ideal + test) / ROWS_PER_SECOND
    return rows + values / VALUES_PER_SECOND + items / ITEMS_PER_SECOND


def plan_export(session: Session, mapping: Mapping, client: str) -> Export:
    """Make the record of a queued export; `client` is the first who asks."""
    cost = export_seconds(session, mapping)
    moment = read_clock(session)
    return Export(
        id=new_id(),
        name=mapping.name,
        created_at=moment,
        used_at=moment,
        mapping_id=mapping.id,
        nbytes=0,
        state="queued",
        done=0,
        total=mapping.n_assignments + mapping.unmapped_points,
        attempt=0,
        client=client,
        cost=cost,
        lane=SMALL if cost <= SMALL_SECONDS else LARGE,
    )


def export_parts(
    session: Session, mapping_id: str, progress: Progress = report_nothing
) -> tuple[Rows, Rows, Rows, Iterator[Iterable[tuple[Any, ...]]]]:
    """Return training, library, test and points of a mapping; they are read while they are used."""
    mapping = find(session, Mapping, mapping_id)
    require_succeeded(mapping, "exported")
    inputs = read_mapping_inputs(session, mapping)
    fit = read_fit_inputs(session, inputs.fit)
    library = fit.ideal
    if library.size > MOST_CURVES:
        indices = np.unique([match.ideal_index for match in read_chosen(session, fit.job)])
        library = replace(library, indices=indices, names=None)
    return (
        _rows(session, fit.training),
        _rows(session, library),
        _rows(session, inputs.test),
        _mapped_rows(session, mapping, progress),
    )


def _rows(session: Session, selection: Selection) -> Rows:
    """Return the rows of the selected curves, which are read while they are used."""
    dataset, columns = selection.dataset, [X, *selection.positions.tolist()]
    blocks = stream_rows(session, dataset, columns, 0, dataset.n_points)
    labels = read_labels(session, dataset.id, columns[1:])
    if dataset.x_unit:
        labels[X] = Label(dataset.x_unit)
    by_place = {place: labels[index] for place, index in enumerate(columns) if index in labels}
    return Rows((dataset.x_column, *read_names(session, selection)), blocks, by_place)


def _mapped_rows(
    session: Session, record: Mapping, progress: Progress
) -> Iterator[Iterable[tuple[Any, ...]]]:
    """Yield X, Y, DeltaY, IdealFunction and TrainingFunction of the items, a block at a time."""
    total = record.n_assignments + record.unmapped_points
    # The last name is for function -1, which stands for none.
    ideal, training = (
        [*(function[name] for function in record.functions), None] for name in ("ideal", "training")
    )
    for places, items in stream_items(session, record, ItemFilter()):
        numbers = (items[name].tolist() for name in ("x", "y", "deviation"))
        functions = items["function"].tolist()
        names = (map(named.__getitem__, functions) for named in (ideal, training))
        yield zip(*numbers, *names, strict=True)
        progress(int(places[-1]) + 1, total)


def open_export(
    database: Database, mapping_id: str, progress: Progress = report_nothing
) -> BinaryIO:
    """Write the file of a mapping; it is open and has no name."""
    with database.reading() as session:
        return spool_project(*export_parts(session, mapping_id, progress))


def make_export(
    database: Database, disk: Disk, settings: Settings, claim: Claim, held: Held
) -> None:
    """Do the job of an export."""
    with database.reading() as session:
        mapping_id = find(session, Export, claim.id).mapping_id
    with open_export(database, mapping_id, held.tell) as file:
        nbytes = file.seek(0, 2)
        disk.require(nbytes)
        file.seek(0)
        number = 0
        while data := file.read(FILE_BLOCK):
            with database.writing() as session:
                if not jobs.renew(session, claim, settings.lease_seconds):
                    raise Lost
                add_block(session, claim.id, number, data)
            number += 1
    held.leave()
    with database.writing() as session:
        values = {"nbytes": nbytes, "used_at": read_clock(session)}
        jobs.end(session, claim, "succeeded", done=Export.total, **values)
        keep_within(session, settings.export_bytes, claim.id)
