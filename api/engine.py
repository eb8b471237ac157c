"""Does a fit or a mapping: load the curves, have the services compute, store the answer.

Reading and computing happen in a transaction that blocks nobody; the record and its answer
are written together in a second, short one. Values never change, so what was read is still
true then; a dataset deleted in between is refused by its foreign key.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sqlalchemy.orm import Session

from api.config import Limits
from api.store.base import Database, NotFound, NotReady, Record, find, new_id, now
from api.store.datasets import (
    Dataset,
    Selection,
    curve_indices,
    curve_names,
    read_curves,
    read_grid,
    read_table,
    stream_blocks,
)
from api.store.fits import Fit, FitMatch, add_matches, chosen
from api.store.mappings import ItemFilter, Mapping, add_items, point_columns, stream_items
from services import fitting, grids, mapping
from services.blocks import Block
from services.errors import Fact, InvalidOption
from services.fitting import FitOptions
from services.grids import SortedGrid
from services.mapping import Functions, Items, MapOptions, Tally
from services.tables import FloatArray, Table
from services.writers import MOST_CURVES, write_project

R = TypeVar("R", bound=Record)

ENGINE = "numpy"
"""What computed a fit, in its record."""

CACHE_BYTES = 64 << 20
"""Curves of hot fits that one process keeps in memory."""

FRESH_SECONDS = 0.5
"""How long a process may not see that a fit was deleted."""

SPOOL_BYTES = 64 << 20
"""Items of a mapping held in memory before they go to a temporary file."""

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


def _silent(_done: int, _total: int) -> None:
    pass


def make_fit(database: Database, request: dict[str, Any], progress: Progress = _silent) -> Fit:
    """Fit as the body of `POST /v1/fits` asks, and store the record with its matches."""
    started = now()
    with database.reading() as session:
        training = _select(session, request, "training")
        ideal = _select(session, request, "ideal")
        grid = read_grid(session, ideal.dataset)
        options = _fit_options(request, grid, ideal.dataset.x_column)
        _refuse_many(training.size * min(options.top_k, ideal.size))
        matches = fitting.fit(
            read_table(session, training),
            training.positions,
            grid,
            _told(stream_blocks(session, ideal), ideal.size, progress),
            options,
        )
        training_names = curve_names(session, training.dataset, {m.training_index for m in matches})
        ideal_names = curve_names(session, ideal.dataset, {m.ideal_index for m in matches})
    fitting.require_finite(matches, training_names, ideal_names)
    fit = Fit(
        id=new_id(),
        name=request.get("name") or f"{training.dataset.name} / {ideal.dataset.name}"[:200],
        created_at=started,
        state="succeeded",
        done=ideal.size,
        total=ideal.size,
        started_at=started,
        finished_at=now(),
        training_id=training.dataset.id,
        ideal_id=ideal.dataset.id,
        training_curves=request.get("training_curves") and training.names,
        ideal_curves=request.get("ideal_curves") and ideal.names,
        **fields_of(options),
        training_sha256=training.dataset.sha256,
        ideal_sha256=ideal.dataset.sha256,
        n_training=training.size,
        n_ideal=ideal.size,
        engine=ENGINE,
    )
    with database.writing() as session:
        session.add(fit)
        session.flush()
        add_matches(session, fit, matches, training_names, ideal_names)
    return fit


def _select(session: Session, request: dict[str, Any], role: str) -> Selection:
    """The curves of one side of a fit; ids and names are checked."""
    dataset = _named(session, Dataset, request, f"{role}_id")
    names = request.get(f"{role}_curves")
    if names is None:
        return Selection(dataset, dataset.n_curves)
    found = curve_indices(session, dataset, names)
    facts = [
        Fact(f"{dataset.name} has no curve {name!r}.", "unknown_curve", pointer=pointer)
        for position, name in enumerate(names)
        if name not in found and (pointer := f"/{role}_curves/{position}")
    ]
    if facts:
        raise InvalidOption(facts[0].detail, facts[: grids.FIRST_FEW])
    ordered = sorted(found, key=found.__getitem__)
    indices = np.array([found[name] for name in ordered], dtype=np.intp)
    return Selection(dataset, dataset.n_curves, indices, ordered)


def _named(session: Session, model: type[R], request: dict[str, Any], field: str) -> R:
    """The record that a field of the body names."""
    try:
        return find(session, model, request[field])
    except NotFound as error:
        raise InvalidOption(
            str(error), [Fact(str(error), "unknown_id", pointer=f"/{field}")]
        ) from None


def _fit_options(request: dict[str, Any], grid: FloatArray, x_name: str) -> FitOptions:
    """Options as used: the tolerance is a number, unless alignment is linear."""
    options = FitOptions(**{name: request[name] for name in FitOptions.__slots__})
    grids.check_tolerance(options.alignment, options.x_tolerance)
    grids.check_grid(grid, "library", x_name)
    if options.alignment == "exact" and options.x_tolerance is None:
        return replace(options, x_tolerance=grids.default_tolerance(grid))
    return options


def _refuse_many(matches: int) -> None:
    most = Limits().matches
    if matches > most:
        detail = f"That would be {matches} matches; a fit keeps {most}. Ask for a smaller top_k."
        raise InvalidOption(detail, [Fact(detail, "too_many", pointer="/top_k")])


def _told(blocks: Iterable[Block], total: int, progress: Progress) -> Iterator[Block]:
    """The same blocks; progress is told what has been asked for and so is done."""
    done = 0
    for block in blocks:
        yield block
        done += len(block.indices)
        progress(done, total)


@dataclass(frozen=True, slots=True)
class ChosenFunctions:
    """What a fit chose, ready to map points: one function for each training curve."""

    matches: Sequence[FitMatch]
    grid: SortedGrid
    curves: FloatArray

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.curves.nbytes + self.grid.x.nbytes + self.grid.rows.nbytes

    def with_limits(self, tolerance_factor: float) -> Functions:
        deviations = np.array([match.max_deviation for match in self.matches], dtype=np.float64)
        return Functions(
            self.curves,
            np.array([match.scale for match in self.matches]),
            np.array([match.offset for match in self.matches]),
            mapping.limits(deviations, tolerance_factor),
        )


def load_functions(session: Session, fit: Fit) -> ChosenFunctions:
    """Read the functions that a fit chose; NotReady unless it has succeeded."""
    if fit.state != "succeeded":
        raise NotReady(f"The fit is {fit.state}; only a fit that succeeded has functions.")
    ideal = find(session, Dataset, fit.ideal_id)
    matches = chosen(session, fit)
    indices = np.array([match.ideal_index for match in matches], dtype=np.intp)
    grid = grids.sort_grid(read_grid(session, ideal))
    return ChosenFunctions(matches, grid, read_curves(session, ideal, indices))


class FunctionCache:
    """Functions of the fits evaluated last, so that a hot fit is read once.

    What a fit chose never changes; only whether it is still there has to be asked again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _CachedFunctions] = OrderedDict()

    def get(self, fit_id: str) -> tuple[Fit, ChosenFunctions]:
        """The fit and its functions; NotFound at most FRESH_SECONDS after a deletion."""
        with self._lock:
            entry = self._entries.get(fit_id)
        if entry is None or time.monotonic() - entry.checked > FRESH_SECONDS:
            entry = self._check(fit_id, entry)
        return entry.fit, entry.functions

    def _check(self, fit_id: str, known: _CachedFunctions | None) -> _CachedFunctions:
        checked = time.monotonic()
        with self._lock:
            self._entries.pop(fit_id, None)
        with self._database.reading() as session:
            fit = find(session, Fit, fit_id)
            functions = known.functions if known else load_functions(session, fit)
        entry = _CachedFunctions(checked, fit, functions)
        with self._lock:
            self._entries[fit_id] = entry
            while sum(e.functions.nbytes for e in self._entries.values()) > CACHE_BYTES:
                self._entries.popitem(last=False)
        return entry

    def forget(self, fit_id: str) -> None:
        """Let go of a fit that is deleted here; other processes notice in FRESH_SECONDS."""
        with self._lock:
            self._entries.pop(fit_id, None)


@dataclass(frozen=True, slots=True)
class _CachedFunctions:
    checked: float
    fit: Fit
    functions: ChosenFunctions


def map_options(request: dict[str, Any], fit: Fit, grid: SortedGrid) -> MapOptions:
    """Options of a mapping as used; those of the fit unless asked otherwise."""
    alignment = request["alignment"] or fit.alignment
    x_tolerance = request["x_tolerance"]
    if x_tolerance is None and alignment == fit.alignment:
        x_tolerance = fit.x_tolerance
    if x_tolerance is None and alignment == "exact":
        x_tolerance = grids.default_tolerance(grid.x)
    options = MapOptions(
        policy=request["policy"],
        tolerance_factor=request["tolerance_factor"],
        alignment=alignment,  # type: ignore[arg-type] # the schema allows the two words only
        x_tolerance=x_tolerance,
    )
    mapping.check_options(options)
    return options


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of a mapping, as its record shows them."""

    n_points: int
    mapped_points: int
    unmapped_points: int
    n_assignments: int
    unmapped_reasons: dict[str, int]
    functions: list[dict[str, Any]]


def assign_points(
    test: Table,
    functions: ChosenFunctions,
    options: MapOptions,
    keep: Callable[[Items], object],
    progress: Progress = _silent,
) -> Outcome:
    """Map the points of a table; every block of items goes to `keep`."""
    limited = functions.with_limits(options.tolerance_factor)
    tally = Tally(len(functions.matches))
    for items in mapping.assign(test, functions.grid, limited, options):
        keep(items)
        tally.add(items)
        progress((int(items["point"][-1]) + 1) * len(test.names), test.y.size)
    unmapped = sum(tally.unmapped_reasons.values())
    return Outcome(
        test.y.size,
        test.y.size - unmapped,
        unmapped,
        tally.n_assignments,
        tally.unmapped_reasons,
        [
            {
                "training": match.training,
                "ideal": match.ideal,
                "limit": _finite(limited.limit[position]),
                "n_assignments": int(tally.counts[position]),
                "deviation_mean": tally.deviation_mean(position),
                "deviation_max": tally.deviation_max(position),
            }
            for position, match in enumerate(functions.matches)
        ],
    )


def make_mapping(
    database: Database, request: dict[str, Any], progress: Progress = _silent
) -> Mapping:
    """Map as the body of `POST /v1/mappings` asks, and store the record with its items."""
    started = now()
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        with database.reading() as session:
            fit = _named(session, Fit, request, "fit_id")
            test = _named(session, Dataset, request, "test_id")
            functions = load_functions(session, fit)
            options = map_options(request, fit, functions.grid)
            table = read_table(session, Selection(test, test.n_curves))
        outcome = assign_points(
            table, functions, options, lambda items: spool.write(items.tobytes()), progress
        )
        record = Mapping(
            id=new_id(),
            name=request.get("name") or f"{test.name} / {fit.name}"[:200],
            created_at=started,
            state="succeeded",
            done=outcome.n_points,
            total=outcome.n_points,
            started_at=started,
            finished_at=now(),
            fit_id=fit.id,
            test_id=test.id,
            test_sha256=test.sha256,
            columns=list(table.names),
            **fields_of(options),
            **fields_of(outcome),
        )
        spool.seek(0)
        with database.writing() as session:
            session.add(record)
            session.flush()
            add_items(session, record, spool)
    return record


def fields_of(record: Any) -> dict[str, Any]:
    """Fields of a dataclass with slots by name; what they hold is not copied."""
    return {name: getattr(record, name) for name in record.__slots__}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def training_of(session: Session, fit: Fit) -> Selection:
    """The training curves a fit was made with, whatever was appended since."""
    return _as_then(session, fit.training_id, fit.training_curves, fit.n_training)


def ideal_of(session: Session, fit: Fit) -> Selection:
    """The library curves a fit was made with, whatever was appended since."""
    return _as_then(session, fit.ideal_id, fit.ideal_curves, fit.n_ideal)


def _as_then(
    session: Session, dataset_id: str, names: Sequence[str] | None, count: int
) -> Selection:
    dataset = find(session, Dataset, dataset_id)
    if names is None:
        return Selection(dataset, count)
    found = curve_indices(session, dataset, names)
    return Selection(dataset, dataset.n_curves, np.array([found[name] for name in names]), names)


def export_project(database: Database, mapping_id: str, path: Path) -> None:
    """Write training, library, test and mapped points of a mapping to a SQLite file."""
    with database.reading() as session:
        record = find(session, Mapping, mapping_id)
        fit = find(session, Fit, record.fit_id)
        library = ideal_of(session, fit)
        if library.size > MOST_CURVES:
            indices = np.unique([match.ideal_index for match in chosen(session, fit)])
            library = Selection(library.dataset, library.dataset.n_curves, indices)
        test = find(session, Dataset, record.test_id)
        write_project(
            path,
            read_table(session, training_of(session, fit)),
            read_table(session, library),
            read_table(session, Selection(test, len(record.columns))),
            _mapped_rows(session, record),
        )


def _mapped_rows(session: Session, record: Mapping) -> Iterator[list[tuple[Any, ...]]]:
    """X, Y, DeltaY, IdealFunction, TrainingFunction of each item, a block at a time."""
    for _, items in stream_items(session, record, ItemFilter()):
        named = point_columns(items, record.columns, record.functions)
        fields = (named[name] for name in ("x", "y", "deviation", "ideal", "training"))
        yield list(zip(*fields, strict=True))
