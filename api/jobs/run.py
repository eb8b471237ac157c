"""Doing a job, in the request or in a worker: read its inputs, compute, store the answer.

A request becomes a record first. Small work is then done at once, large work is queued for a
worker (api/jobs/worker.py); `compute` is the same for both. It reads in a transaction that blocks
nobody; the answer is written in a second, short one. Values never change, so the inputs are
still true then; a dataset deleted in between is refused by its foreign key.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import IO, Any

from sqlalchemy.orm import Session

from api.jobs.common import Answer, J, Progress, TakesLonger, Watch, allow_any, report_nothing
from api.jobs.kinds import KINDS, I, JobKind
from api.jobs.rankers import UNCACHED, Ranker
from api.jobs.tools import Tools
from api.store.base import Database
from api.store.jobs import LARGE, SMALL, SMALL_SECONDS, Job, read_clock
from services.scratch import scratch

SPOOL_BYTES = 64 << 20
"""Bytes of a mapping's items held in memory before they go to a temporary file."""


def submit(  # noqa: PLR0913 - what a process brings with it, each with a default
    database: Database,
    kind: JobKind[J, I],
    request: dict[str, Any],
    *,
    client: str = "",
    most_seconds: float = math.inf,
    may_begin: Callable[[float], bool] = allow_any,
    progress: Progress = report_nothing,
    ranker: Ranker = UNCACHED,
) -> J:
    """Do the job that the body of a request asks for, or queue it; nothing refused is stored.

    It is queued if it may take more than `most_seconds`, or if `may_begin`, which is asked with
    an estimate before anything is computed, says no; also when only the computation shows that
    it takes longer. `client` is who asks, for a fair queue.
    """

    def may_take(seconds: float) -> bool:
        return seconds <= most_seconds and may_begin(seconds)

    with scratch.spooled(SPOOL_BYTES) as spool:
        with database.reading() as session:
            inputs = kind.plan(session, request)
            job: J = inputs.job
            job.client, job.cost = client, kind.estimate(inputs)
            answer = _compute_small(
                session, kind, inputs, Tools(spool, Watch(progress, may_take), ranker)
            )
            job.lane = SMALL if job.cost <= SMALL_SECONDS else LARGE
        with database.writing() as session:
            if answer:
                job.state, job.done = "succeeded", job.total
                job.started_at = job.created_at
                job.finished_at = max(read_clock(session), job.created_at)
                for name, value in answer.values.items():
                    setattr(job, name, value)
            session.add(job)
            session.flush()
            if answer:
                answer.add_rows(session)
    return job


def _compute_small(session: Session, kind: JobKind[J, I], inputs: I, tools: Tools) -> Answer | None:
    """Compute the answer of a job, or check it and return None if it takes too long."""
    job = inputs.job
    if tools.watch.may_take(job.cost):
        try:
            return kind.compute(session, inputs, tools)
        except TakesLonger as error:
            job.cost += error.seconds
    kind.check(session, inputs)
    return None


def compute(
    session: Session,
    job: Job,
    spool: IO[bytes],
    progress: Progress = report_nothing,
    ranker: Ranker = UNCACHED,
) -> Answer:
    """Compute the answer of a stored job, with all that it needs read here and now."""
    kind = KINDS[type(job)]
    return kind.compute(session, kind.read(session, job), Tools(spool, Watch(progress), ranker))
