"""`/metrics`: figures of all processes of the service, for Prometheus."""

from __future__ import annotations

import logging
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import accumulate

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from api import metrics
from api.config import Settings
from api.jobs.kinds import JOBS
from api.meter import SUM, Key
from api.running import running
from api.store.base import Database
from api.store.counts import Counts, count
from api.throttled_log import ThrottledLog

log = logging.getLogger(__name__)
throttled = ThrottledLog(log)

blueprint = Blueprint("metrics", __name__)

LOOK_SECONDS = 2.0
"""Seconds for which a scrape waits for the database before it reports it as down."""

REST = 10
"""Pause between two queries, in multiples of their duration, so that scrapes take at most a
tenth of the database's time."""


@blueprint.get("/metrics")
def read_metrics() -> Response:
    """Write all metrics as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(Collector(running().look))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class DatabaseProbe:
    """Counts of the database, read now and then without waiting for long."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.settings = settings
        self._database = database
        self._lock = threading.Lock()
        self._task: threading.Thread | None = None
        self._found: Counts | None = None
        self._good_until = 0.0

    def counts(self) -> Counts | None:
        """Return the newest counts; None while the database does not answer."""
        with self._lock:
            if time.monotonic() > self._good_until and self._task is None:
                self._task = threading.Thread(target=self._look, daemon=True, name="look")
                self._task.start()
            task = self._task
        if task:
            task.join(LOOK_SECONDS)
            if task.is_alive():
                return None
        return self._found

    def _look(self) -> None:
        began = time.monotonic()
        found = None
        try:
            found = count(self._database, JOBS)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other figures are shown
            throttled.note("metrics", error)
        now = time.monotonic()
        with self._lock:
            self._found, self._task = found, None
            self._good_until = now + REST * (now - began) if found else 0.0


class Collector:
    """Collector of all figures, in the order in which they are shown."""

    def __init__(self, look: DatabaseProbe) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """Collect all figures."""
        totals = metrics.meter.totals()
        yield from _requests(totals)
        yield from _jobs(totals)
        yield from _stored(self._look.counts())
        yield _disk(self._look.settings)
        build = {"version": version("idealfit"), "python": platform.python_version()}
        yield InfoMetricFamily("idealfit_build", "Version of the service.", build)


def _requests(totals: dict[Key, list[float]]) -> Iterator[Metric]:
    name = "http_server_request_duration_seconds"
    text = "Seconds from when a request could have a thread until its reply was made."
    labels = ["http_request_method", "http_route", "http_response_status_code"]
    durations = HistogramMetricFamily(name, text, labels=labels)
    yield _histogram(durations, totals, metrics.REQUEST, metrics.REQUEST_SECONDS)
    text = "Requests that have a thread or wait for one."
    active = GaugeMetricFamily("http_server_active_requests", text, labels=labels[:1])
    for labels_of, numbers in _series(totals, metrics.ACTIVE):
        active.add_metric(labels_of, max(0.0, numbers[0]))
    yield active
    starts = CounterMetricFamily(
        "idealfit_process_starts", "Processes that have started.", labels=["process"]
    )
    for labels_of, numbers in _series(totals, metrics.START):
        starts.add_metric(labels_of, numbers[0])
    yield starts


def _jobs(totals: dict[Key, list[float]]) -> Iterator[Metric]:
    finished = CounterMetricFamily(
        "idealfit_jobs_finished", "Jobs that workers have ended.", labels=["kind", "outcome"]
    )
    for labels_of, numbers in _series(totals, metrics.JOB):
        finished.add_metric(labels_of, sum(numbers[:SUM]))
    yield finished
    name, text = "idealfit_job_duration_seconds", "Seconds of the attempt that ended a job."
    durations = HistogramMetricFamily(name, text, labels=["kind", "outcome"])
    yield _histogram(durations, totals, metrics.JOB, metrics.JOB_SECONDS)


def _stored(counts: Counts | None) -> Iterator[Metric]:
    up = GaugeMetricFamily("idealfit_database_up", "1 if the database answers.")
    up.add_metric([], float(counts is not None))
    yield up
    if counts is None:
        return
    jobs = GaugeMetricFamily("idealfit_jobs", "Fits and mappings.", labels=["kind", "state"])
    for labels, number in counts.jobs.items():
        jobs.add_metric(labels, number)
    yield jobs
    text = "Seconds since the oldest job that waits was posted."
    age = GaugeMetricFamily("idealfit_queue_age_seconds", text, labels=["kind"])
    for kind, seconds in counts.waiting_seconds.items():
        age.add_metric([kind], seconds)
    yield age
    sizes = GaugeMetricFamily("idealfit_database_bytes", "Size on the disk.", labels=["part"])
    for part, number in counts.sizes.items():
        sizes.add_metric([part], number)
    yield sizes


def _disk(settings: Settings) -> Metric:
    free = GaugeMetricFamily("idealfit_disk_free_bytes", "Room on the disk.", labels=["folder"])
    folders = {"tmp": tempfile.gettempdir()}
    if not settings.database_url:
        folders["data"] = str(settings.data)
    for name, folder in folders.items():
        try:
            free.add_metric([name], shutil.disk_usage(folder).free)
        except OSError as error:
            throttled.note(f"metrics: folder {name}", OSError(error.errno, error.strerror))
    return free


def _histogram(
    family: HistogramMetricFamily,
    totals: dict[Key, list[float]],
    series: str,
    bounds: tuple[float, ...],
) -> Metric:
    edges = [*(str(bound) for bound in bounds), "+Inf"]
    for labels, numbers in _series(totals, series):
        buckets = list(zip(edges, accumulate(numbers[:SUM]), strict=True))
        family.add_metric(labels, buckets, numbers[SUM])
    return family


def _series(totals: dict[Key, list[float]], name: str) -> list[tuple[tuple[str, ...], list[float]]]:
    return [(key[1:], numbers) for key, numbers in sorted(totals.items()) if key[0] == name]
