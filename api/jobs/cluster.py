"""Fits of large libraries on a Dask cluster.

The tasks are parts of the library. A task is the id of a fit and the places of its part, nothing
else: a Dask worker reads training curves and values from the database itself and sends back a
ranking. SQL alone says what is done: the lease is the worker's, and the answer is stored by the
transaction that ends the job. So whatever dies of the cluster costs time and never an answer:
what it does not deliver, the worker computes itself.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from queue import Empty, Queue
from typing import Any

from sqlalchemy.orm import Session

from api.config import Settings
from api.jobs.common import NOT_WATCHED, Progress, Watch
from api.jobs.estimate import estimate_rate
from api.jobs.fits import prepare_fit
from api.jobs.inputs import FitInputs, read_fit_inputs
from api.jobs.rankers import NUMPY, LocalRanker
from api.store.base import Database, find
from api.store.fits import Fit
from services.fitting.cache import Cache
from services.fitting.prepare import PreparedFit
from services.scoring.ranking import Ranking, make_empty_ranking, merge

log = logging.getLogger(__name__)

DASK = "dask"
"""Name of the cluster in the record of a fit that it computed, wholly or in part."""

PART_BYTES, PART_SECONDS = 256 << 20, 1.0
"""Largest part: bytes of values, and seconds of work. Handing one out takes a millisecond."""

AHEAD = 2
"""Parts handed out ahead for each thread of the cluster, so that no thread waits."""

CONNECT_SECONDS = 5
"""Seconds the scheduler has to answer; after them the worker computes alone."""

LOOK_SECONDS = 0.25
"""Seconds between two reports of progress, which also notice that the job was lost."""

REPLICATION_SECONDS = 10
"""Seconds by which a replica that Dask workers read from may be behind."""

PATIENCE_SECONDS = 60
"""Seconds without a result after which the worker computes alone."""


class Cluster:
    """Ranker on the workers of a Dask scheduler; parts that they do not deliver are ranked here."""

    def __init__(self, address: str, local: LocalRanker) -> None:
        self._distributed = importlib.import_module("distributed")
        self._address = address
        self._local = local
        self._client: Any = None

    def rank(
        self, session: Session, inputs: FitInputs, prepared: PreparedFit, watch: Watch
    ) -> tuple[Ranking, str]:
        """Rank all of the library; in parts, if it is large and there is a cluster."""
        fit = inputs.job
        parts = cut(fit, inputs.grid.size)
        if len(parts) == 1 or not self._connected():
            return self._local.rank(session, inputs, prepared, watch)
        ranking, done = make_empty_ranking(len(prepared.names), 0), 0
        missing, by = dict.fromkeys(parts), NUMPY
        with closing(self._delivered(fit, parts)) as delivered:
            for part, found in delivered:
                ranking = merge(ranking, found, prepared.options.places)
                done += len(part)
                if part:
                    del missing[part]
                    by = DASK
                watch.progress(done, fit.n_ideal)
        for part in missing:
            told = Watch(functools.partial(_further, watch.progress, done))
            found = self._local.rank_part(session, inputs, prepared, told, part)
            ranking = merge(ranking, found, prepared.options.places)
            done += len(part)
        return ranking, by

    def _connected(self) -> bool:
        """Tell whether the scheduler answers and has workers."""
        kept = self._client is not None
        try:
            if self._client is None:
                self._client = self._distributed.Client(
                    self._address, timeout=CONNECT_SECONDS, set_as_default=False
                )
            if self._threads():
                return True
            reason = "it has no workers"
        except Exception as error:  # noqa: BLE001 - whatever it is, the fit goes on without
            reason = repr(error)
        self._leave()
        if kept:
            # Its scheduler went away while nothing was to be done; there may be another by now.
            return self._connected()
        log.warning("%s is not used: %s", self._address, reason)
        return False

    def _leave(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.close(timeout=CONNECT_SECONDS)

    def _threads(self) -> int:
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        return sum(worker["nthreads"] for worker in workers.values())

    def _delivered(
        self, fit: Fit, parts: Sequence[range]
    ) -> Generator[tuple[range, Ranking], None, None]:
        """Yield parts with their rankings as they arrive, and empty ones while none arrives.

        Ends early where the cluster delivers nothing any more.
        """
        waiting, running, ended = deque(parts), dict[Any, range](), Queue[Any]()
        nothing = range(0), make_empty_ranking(fit.n_training, 0)
        last = time.monotonic()
        try:
            while (waiting or running) and time.monotonic() - last < PATIENCE_SECONDS:
                while waiting and len(running) < AHEAD * max(1, self._threads()):
                    part = waiting.popleft()
                    future = self._hand_out(fit, part)
                    running[future] = part
                    future.add_done_callback(ended.put)
                yield nothing
                for future in _some(ended):
                    part = running.pop(future)
                    if (found := _result(part, future)) is not None:
                        last = time.monotonic()
                        yield part, found
        except Exception as error:  # noqa: BLE001 - whatever it is, the fit goes on without
            log.warning("fit %s: %s is left: %r", fit.id, self._address, error)
            running.clear()
            self._leave()
        finally:
            for future in running:
                future.cancel()

    def _hand_out(self, fit: Fit, part: range) -> Any:
        return self._client.submit(
            rank_part,
            fit.id,
            part.start,
            part.stop,
            # Of another attempt nothing may come back, and only SQL decides what is tried again.
            key=f"idealfit-{fit.id}-{fit.attempt}-{part.start}",
            pure=False,
            retries=0,
        )


def _some(ended: Queue[Any]) -> Iterator[Any]:
    """Yield futures that have ended; wait a moment for the first."""
    with contextlib.suppress(Empty):
        yield ended.get(timeout=LOOK_SECONDS)
        while True:
            yield ended.get_nowait()


def _result(part: range, future: Any) -> Ranking | None:
    """Return the ranking of a task, None if it failed; ConnectionError if the scheduler lost it."""
    if future.status == "error":
        log.warning("%s: %r", part, future.exception())
        return None
    if future.status != "finished":
        raise ConnectionError(f"{part} was {future.status}")
    found: Ranking = future.result(timeout=CONNECT_SECONDS)
    return found


def _further(progress: Progress, before: int, done: int, total: int) -> None:
    progress(before + done, total)


def cut(fit: Fit, n_points: int) -> list[range]:
    """Cut the library of a fit into parts, each a range of curves."""
    values = fit.n_ideal * n_points
    seconds = fit.n_training * values / estimate_rate(fit)
    count = max(8 * values / PART_BYTES, seconds / PART_SECONDS)
    step = max(1, int(fit.n_ideal / count))
    return [range(first, min(first + step, fit.n_ideal)) for first in range(0, fit.n_ideal, step)]


def rank_part(fit_id: str, start: int, stop: int) -> Ranking:
    """Rank a part of the library in a Dask worker, whose database may be a replica."""
    database, local = _process()
    _await_replication(database, fit_id)
    with database.reading() as session:
        inputs = read_fit_inputs(session, find(session, Fit, fit_id))
        prepared = prepare_fit(session, inputs)
        return local.rank_part(session, inputs, prepared, NOT_WATCHED, range(start, stop))


def _await_replication(database: Database, fit_id: str) -> None:
    """Wait until a replica has the fit; it then has the datasets too, which are older."""
    deadline = time.monotonic() + REPLICATION_SECONDS
    while time.monotonic() < deadline:
        with database.reading() as session:
            if session.get(Fit, fit_id) is not None:
                return
        time.sleep(LOOK_SECONDS)


@functools.lru_cache(maxsize=1)
def _process() -> tuple[Database, LocalRanker]:
    """Open the database and make the ranker of this Dask worker, once."""
    settings = Settings.from_environment()
    return Database(settings.url), LocalRanker(Cache(settings.cache_bytes))
