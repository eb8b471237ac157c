"""Does a fit or a mapping: load the curves, have the services compute, store the answer.

A request becomes a record first (`plan_fit`, `plan_mapping`). Small work is then done at once,
large work is queued for a worker (api/worker.py); `compute` is the same for both. It reads in a
transaction that blocks nobody; the answer is written in a second, short one. Values never
change, so what was read is still true then; a dataset deleted in between is refused by its
foreign key.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar, assert_never

import numpy as np
from sqlalchemy.orm import Session

from api.inforce import limits
from api.store.base import Database, NotFound, Record, find, new_id
from api.store.datasets import (
    Dataset,
    Selection,
    curve_indices,
    curve_names,
    open_library,
    read_curves,
    read_grid,
    read_table,
)
from api.store.exports import Export
from api.store.fits import Fit, FitMatch, add_matches, chosen
from api.store.jobs import LARGE, SMALL, SMALL_SECONDS, Job, clock, require_succeeded
from api.store.mappings import ItemFilter, Mapping, add_items, point_columns, stream_items
from services import grids
from services.errors import Fact, InvalidOption
from services.export.project import MOST_CURVES, write_project
from services.fitting.blocks import split
from services.fitting.cache import Cache
from services.fitting.fit import PreparedFit, finish, prepare, rank_library, require_finite
from services.grids import AlignmentKind, SortedGrid
from services.mapping.assign import assign
from services.mapping.few_points import assign_few_points
from services.mapping.functions import Functions, tabulate
from services.mapping.items import REASONS, Items, Row
from services.mapping.limits import admission_limits
from services.mapping.options import MapOptions, check_options
from services.mapping.tally import Tally
from services.scoring.options import FitOptions
from services.scoring.ranking import Ranking
from services.scratch import scratch
from services.tables import FloatArray, Table

R = TypeVar("R", bound=Record)
J = TypeVar("J", bound=Job)

CACHE_BYTES = 64 << 20
"""Curves of hot fits that one process keeps in memory."""

FRESH_SECONDS = 0.5
"""How long a process may not see that a fit was deleted."""

FEW = 1000
"""Points times functions of an evaluation that are worked off one by one."""

EVALUATED_CELLS = 1 << 14
"""Points times functions of an evaluation that are worked off together."""

SPOOL_BYTES = 64 << 20
"""Items of a mapping held in memory before they go to a temporary file."""

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


def silent(_done: int, _total: int) -> None:
    """Progress that nobody asked for."""


NUMPY = "numpy"
"""What computed a fit, in its record."""

JOBS: tuple[type[Job], ...] = (Fit, Mapping, Export)
"""The kinds of job there are."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a job: columns of its record, and what writes the rows that go with it."""

    values: dict[str, Any]
    add_rows: Callable[[Session], None]


class Ranker(Protocol):
    """Compares the training curves of a fit with its library."""

    def rank(
        self, session: Session, fit: Fit, prepared: PreparedFit, progress: Progress, /
    ) -> tuple[Ranking, str]:
        """The ranking, and what computed it."""


@dataclass(frozen=True, slots=True)
class LocalRanker:
    """Compares in this process."""

    cache: Cache | None = None
    """Keeps what was prepared of a library for the next fit."""

    def rank(
        self, session: Session, fit: Fit, prepared: PreparedFit, progress: Progress
    ) -> tuple[Ranking, str]:
        """All of the library."""
        everything = range(fit.n_ideal)
        return self.rank_part(session, fit, prepared, progress, everything), NUMPY

    def rank_part(
        self, session: Session, fit: Fit, prepared: PreparedFit, progress: Progress, part: range
    ) -> Ranking:
        """The curves of the library in some of its places."""
        library = open_library(session, ideal_of(session, fit), part.start, part.stop)
        cells = fit.n_training * len(library.grid)
        most = max(1, int(PIECE_SECONDS * rate(fit) / cells))
        blocks = (piece for block in library.blocks for piece in split(block, most))
        sketches = (piece for whole in library.sketches for piece in split(whole, SKETCHES * most))
        library = replace(library, blocks=blocks, sketches=sketches)
        return rank_library(
            prepared, library, self.cache, most, lambda done: progress(done, fit.n_ideal)
        )


UNCACHED = LocalRanker()
"""Keeps nothing for the next fit."""


def submit(  # noqa: PLR0913 - what a process brings with it, each with a default
    database: Database,
    plan: Callable[[Session, dict[str, Any]], J],
    request: dict[str, Any],
    *,
    client: str = "",
    most_seconds: float = math.inf,
    may_begin: Callable[[float], bool] = lambda _seconds: True,
    progress: Progress = silent,
    ranker: Ranker = UNCACHED,
) -> J:
    """Do what a request asks for, or queue it if that may take more than `most_seconds`.

    `may_begin` is asked with the estimate before anything is computed; if not, it is queued too.
    `plan` makes the record, and refuses what ids, names and options show. Nothing is stored of
    what is refused. `client` is who asks, for a fair queue.
    """
    with scratch.spooled(SPOOL_BYTES) as spool:
        with database.reading() as session:
            job = plan(session, request)
            answer = None
            job.client, job.cost = client, estimate(session, job)
            job.lane = SMALL if job.cost <= SMALL_SECONDS else LARGE
            if job.cost <= most_seconds and may_begin(job.cost):
                answer = compute(session, job, spool, progress, ranker)
            elif isinstance(job, Fit):
                _check_grids(session, job)
        with database.writing() as session:
            if answer:
                job.state, job.done = "succeeded", job.total
                job.started_at = job.created_at
                job.finished_at = max(clock(session), job.created_at)
                for name, value in answer.values.items():
                    setattr(job, name, value)
            session.add(job)
            session.flush()
            if answer:
                answer.add_rows(session)
    return job


def compute(
    session: Session,
    job: Job,
    spool: IO[bytes],
    progress: Progress = silent,
    ranker: Ranker = UNCACHED,
) -> Answer:
    """Compute what the record of a job says; what it reads is read here and now.

    `progress` is told between two pieces, and what it raises ends the work. `spool` takes what
    may be too long for memory, until the answer is stored. `ranker` compares the curves of a
    fit.
    """
    if isinstance(job, Mapping):
        return _compute_mapping(session, job, spool, progress)
    assert isinstance(job, Fit)  # noqa: S101 - for the type checker: there are two kinds
    return _compute_fit(session, job, progress, ranker)


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

PIECE_SECONDS = 0.5
"""Longest piece of a fit, about: between two pieces it can be stopped."""

SKETCHES = 8
"""How many curves are compared by their sketches in the time that one takes by itself."""


def estimate(session: Session, job: Job) -> float:
    """Seconds that a job may take; docs/operations.md says how it is reckoned."""
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


def plan_fit(session: Session, request: dict[str, Any]) -> Fit:
    """The record of a fit as the body of `POST /v1/fits` asks for it."""
    training = _select(session, request, "training")
    ideal = _select(session, request, "ideal")
    grid = read_grid(session, ideal.dataset)
    options = _fit_options(request, grid, ideal.dataset.x_column)
    _refuse_many(training.size * min(options.top_k, ideal.size))
    return Fit(
        **_queued(session, ideal.size),
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


def _queued(session: Session, total: int) -> dict[str, Any]:
    """Columns of a job that nobody has begun."""
    return {
        "id": new_id(),
        "created_at": clock(session),
        "state": "queued",
        "done": 0,
        "total": total,
        "attempt": 0,
    }


def _check_grids(session: Session, fit: Fit) -> None:
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


def _compute_fit(session: Session, fit: Fit, progress: Progress, ranker: Ranker) -> Answer:
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
    dataset = _named(session, Dataset, request, f"{role}_id")
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
    most = limits().matches
    if matches > most:
        detail = f"That would be {matches} matches; a fit keeps {most}. Ask for a smaller top_k."
        raise InvalidOption(detail, [Fact(detail, "too_many", pointer="/top_k")])


@dataclass(frozen=True, slots=True)
class ChosenFunctions:
    """What a fit chose, ready to map points: one function for each training curve.

    The limit of each of the functions is its largest deviation.
    """

    matches: Sequence[FitMatch]
    grid: SortedGrid
    functions: Functions

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        tables = sum(table.nbytes for table in self.functions.tables.values())
        return self.functions.curves.nbytes + self.grid.x.nbytes + self.grid.rows.nbytes + tables

    def with_limits(self, tolerance_factor: float) -> Functions:
        known = self.functions
        limit = admission_limits(known.limit, tolerance_factor)
        return Functions(known.curves, known.scale, known.offset, limit, known.tables)

    def tabulated(self, alignment: AlignmentKind) -> ChosenFunctions:
        """The same for many small mappings of one alignment."""
        table = tabulate(self.functions, self.grid, alignment)
        tables = {alignment: table} if table else {}
        return replace(self, functions=replace(self.functions, tables=tables))


def load_functions(session: Session, fit: Fit) -> ChosenFunctions:
    """Read the functions that a fit chose; NotReady unless it has succeeded."""
    require_succeeded(fit, "evaluated")
    ideal = find(session, Dataset, fit.ideal_id)
    matches = chosen(session, fit)
    curves = read_curves(session, ideal, np.array([m.ideal_index for m in matches], dtype=np.intp))
    scale, offset, deviation = (
        np.array([getattr(match, name) for match in matches], dtype=np.float64)
        for name in ("scale", "offset", "max_deviation")
    )
    grid = grids.sort_grid(read_grid(session, ideal))
    return ChosenFunctions(matches, grid, Functions(curves, scale, offset, deviation))


def _hot_functions(session: Session, fit: Fit) -> ChosenFunctions:
    return load_functions(session, fit).tabulated(fit.alignment)  # type: ignore[arg-type] # the schema allows the two words only


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
        try:
            with self._database.reading() as session:
                fit = find(session, Fit, fit_id)
                functions = known.functions if known else _hot_functions(session, fit)
        except NotFound:
            self.forget(fit_id)
            raise
        entry = _CachedFunctions(checked, fit, functions)
        with self._lock:
            self._entries[fit_id] = entry
            self._entries.move_to_end(fit_id)
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


def map_options(request: dict[str, Any], fit: Fit, grid: FloatArray) -> MapOptions:
    """Options of a mapping as used; those of the fit unless asked otherwise.

    `grid` is the library's, in any order.
    """
    alignment = request["alignment"] or fit.alignment
    x_tolerance = request["x_tolerance"]
    if x_tolerance is None and alignment == fit.alignment:
        x_tolerance = fit.x_tolerance
    if x_tolerance is None and alignment == "exact":
        x_tolerance = grids.default_tolerance(grid)
    options = MapOptions(
        policy=request["policy"],
        tolerance_factor=request["tolerance_factor"],
        alignment=alignment,  # type: ignore[arg-type] # the schema allows the two words only
        x_tolerance=x_tolerance,
    )
    check_options(options)
    return options


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of a mapping, as its record shows them; none while nothing is mapped."""

    n_points: int
    mapped_points: int = 0
    unmapped_points: int = 0
    n_assignments: int = 0
    unmapped_reasons: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS[1:], 0))
    functions: list[dict[str, Any]] = field(default_factory=list)


def assign_points(  # noqa: PLR0913, PLR0917 - what is mapped, how, and who is told
    test: Table,
    functions: ChosenFunctions,
    options: MapOptions,
    keep: Callable[[Items], object],
    progress: Progress = silent,
    block_rows: int | None = None,
) -> Outcome:
    """Map the points of a table; every block of items goes to `keep`."""
    limited = functions.with_limits(options.tolerance_factor)
    tally = Tally(len(functions.matches))
    for items in assign(test, functions.grid, limited, options, block_rows):
        keep(items)
        tally.add(items)
        progress((int(items["point"][-1]) + 1) * len(test.names), test.y.size)
    return _outcome(test.y.size, functions.matches, limited, tally)


def is_few(test: Table, functions: ChosenFunctions, options: MapOptions) -> bool:
    """Whether `evaluate_few` is the faster way to map the points of a table."""
    cells = test.y.size * len(functions.matches)
    return cells <= FEW and options.alignment in functions.functions.tables


def evaluate_few(
    test: Table, functions: ChosenFunctions, options: MapOptions
) -> tuple[Outcome, list[Row]]:
    """Map a few points one by one; figures and items."""
    limited = functions.with_limits(options.tolerance_factor)
    x, y = test.x.tolist(), test.y[0].tolist()
    rows = assign_few_points(x, y, functions.grid, limited, options)
    tally = Tally(len(functions.matches))
    tally.add_few(rows)
    return _outcome(test.y.size, functions.matches, limited, tally), rows


def evaluate_many(
    test: Table, functions: ChosenFunctions, options: MapOptions, keep: Callable[[Items], object]
) -> Outcome:
    """Map points at once, in blocks that take little memory, and give the items to `keep`."""
    rows = max(1, EVALUATED_CELLS // len(functions.matches))
    return assign_points(test, functions, options, keep, block_rows=rows)


def named_functions(functions: ChosenFunctions, options: MapOptions) -> list[dict[str, Any]]:
    """What the points of a mapping say of the functions."""
    limited = functions.with_limits(options.tolerance_factor)
    return _named_functions(functions.matches, limited)


def _named_functions(matches: Sequence[FitMatch], limited: Functions) -> list[dict[str, Any]]:
    return [
        {
            "training": match.training,
            "ideal": match.ideal,
            "limit": limit if math.isfinite(limit) else None,
        }
        for match, limit in zip(matches, limited.limit.tolist(), strict=True)
    ]


def _outcome(
    n_points: int, matches: Sequence[FitMatch], functions: Functions, tally: Tally
) -> Outcome:
    reasons = tally.unmapped_reasons
    unmapped = sum(reasons.values())
    return Outcome(
        n_points,
        n_points - unmapped,
        unmapped,
        tally.n_assignments,
        reasons,
        [
            named
            | {
                "n_assignments": tally.counts[position],
                "deviation_mean": tally.deviation_mean(position),
                "deviation_max": tally.deviation_max(position),
            }
            for position, named in enumerate(_named_functions(matches, functions))
        ],
    )


def plan_mapping(session: Session, request: dict[str, Any]) -> Mapping:
    """The record of a mapping as the body of `POST /v1/mappings` asks for it."""
    fit = _named(session, Fit, request, "fit_id")
    test = _named(session, Dataset, request, "test_id")
    require_succeeded(fit, "mapped with")
    grid = read_grid(session, find(session, Dataset, fit.ideal_id))
    columns = curve_names(session, test, range(test.n_curves))
    return Mapping(
        **_queued(session, test.n_points * test.n_curves),
        name=request.get("name") or f"{test.name} / {fit.name}"[:200],
        fit_id=fit.id,
        test_id=test.id,
        test_sha256=test.sha256,
        columns=list(columns.values()),
        **fields_of(map_options(request, fit, grid)),
        **fields_of(Outcome(test.n_points * test.n_curves)),
    )


def _compute_mapping(
    session: Session, record: Mapping, spool: IO[bytes], progress: Progress
) -> Answer:
    functions = load_functions(session, find(session, Fit, record.fit_id))
    test = find(session, Dataset, record.test_id)
    table = read_table(session, Selection(test, len(record.columns)))
    outcome = assign_points(
        table, functions, record.options, lambda items: spool.write(items.tobytes()), progress
    )

    def add_rows(session: Session) -> None:
        spool.seek(0)
        add_items(session, record, spool)

    return Answer(fields_of(outcome), add_rows)


def fields_of(record: Any) -> dict[str, Any]:
    """Fields of a dataclass with slots by name; what they hold is not copied."""
    return {name: getattr(record, name) for name in record.__slots__}


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
        write_project(path, *export_parts(session, mapping_id))


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
