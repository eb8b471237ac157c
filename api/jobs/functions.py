"""Functions that a fit chose, kept in memory for evaluations that follow."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy.orm import Session

from api.store.base import Database, NotFound, find
from api.store.datasets import Dataset, read_datasets
from api.store.fits import Fit, FitMatch, read_chosen
from api.store.jobs import require_succeeded
from api.store.selections import read_curves, read_x
from services import grids
from services.choices import AlignmentKind
from services.grids import SortedGrid
from services.mapping.functions import Functions, tabulate
from services.mapping.limits import admission_limits
from services.tables import FloatArray

CACHE_BYTES = 64 << 20
"""Bytes of chosen functions that one process keeps in memory."""


FRESH_SECONDS = 0.5
"""Seconds for which a process may not notice that a fit was deleted."""


@dataclass(frozen=True, slots=True)
class ChosenFunctions:
    """Functions that a fit chose, ready to map points: one for each training curve.

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
        """Return the functions with a table that makes small mappings of this alignment fast."""
        table = tabulate(self.functions, self.grid, alignment)
        tables = {alignment: table} if table else {}
        return replace(self, functions=replace(self.functions, tables=tables))


def read_functions(session: Session, fit: Fit, ideal: Dataset, grid: FloatArray) -> ChosenFunctions:
    """Read the functions that a fit chose from its library, whose x column is `grid`."""
    matches = read_chosen(session, fit)
    functions = read_functions_of_matches(session, ideal, matches)
    return ChosenFunctions(matches, grids.sort_grid(grid), functions)


def read_functions_of_matches(
    session: Session, ideal: Dataset, matches: Sequence[FitMatch]
) -> Functions:
    """Read the function of each match; its limit is its largest deviation."""
    curves = read_curves(session, ideal, np.array([m.ideal_index for m in matches], dtype=np.intp))
    scale, offset, deviation = (
        np.array([getattr(match, name) for match in matches], dtype=np.float64)
        for name in ("scale", "offset", "max_deviation")
    )
    return Functions(curves, scale, offset, deviation)


def _read_hot(session: Session, fit: Fit) -> ChosenFunctions:
    """Read the functions of a fit for many small evaluations; NotReady unless it has succeeded."""
    require_succeeded(fit, "evaluated")
    [(ideal, x)] = read_datasets(session, fit.ideal_id).values()
    functions = read_functions(session, fit, ideal, read_x(session, ideal, x))
    return functions.tabulated(fit.options.alignment)


class FunctionCache:
    """Cache of the functions of the fits evaluated last.

    What a fit chose never changes; only whether it is still there has to be asked again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _CachedFunctions] = OrderedDict()

    def get(self, fit_id: str) -> tuple[Fit, ChosenFunctions]:
        """Return the fit and its functions; NotFound at most FRESH_SECONDS after a deletion."""
        with self._lock:
            entry = self._entries.get(fit_id)
        if entry is None or not entry.is_fresh():
            entry = self._check(fit_id, entry)
        return entry.fit, entry.functions

    def get_fresh(self, fit_id: str) -> tuple[Fit, ChosenFunctions] | None:
        """Return the fit and its functions unless the database has to be asked."""
        with self._lock:
            entry = self._entries.get(fit_id)
        return (entry.fit, entry.functions) if entry is not None and entry.is_fresh() else None

    def _check(self, fit_id: str, known: _CachedFunctions | None) -> _CachedFunctions:
        checked = time.monotonic()
        try:
            with self._database.reading() as session:
                fit = find(session, Fit, fit_id)
                functions = known.functions if known else _read_hot(session, fit)
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
        """Drop a fit that this process deleted; other processes notice within FRESH_SECONDS."""
        with self._lock:
            self._entries.pop(fit_id, None)


@dataclass(frozen=True, slots=True)
class _CachedFunctions:
    checked: float
    fit: Fit
    functions: ChosenFunctions

    def is_fresh(self) -> bool:
        return time.monotonic() - self.checked <= FRESH_SECONDS
