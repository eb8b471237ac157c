"""Rounds in which every contender runs once, and tables in Markdown."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

MEMORY = "library in memory"
"""Path of the tables that time functions on arrays of one process."""

HTTP = "request of a user, over HTTP"
"""Path of the tables that time `idealfit serve` from outside."""

Times = list[float]


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def alternate(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Times]:
    """Time all contenders in each round, so that noise of the machine affects all."""
    times: dict[str, Times] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            times[name].append(seconds(work))
    return times


def ratios(above: Sequence[float], below: Sequence[float]) -> Times:
    """Return the ratio of each round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Write the median, least and largest value."""
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:.{digits}f} ({least:.{digits}f}–{most:.{digits}f})"


def milliseconds(times: Sequence[float]) -> str:
    """Write the median, least and largest of some seconds as milliseconds."""
    median = statistics.median(times) * 1e3
    return spread([1e3 * took for took in times], 3 if median < 1 else 1)


def machine() -> str:
    """Describe the machine in one line."""
    lines = open("/proc/cpuinfo").read().splitlines()  # noqa: SIM115, PTH123
    models = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    return (
        f"{os.cpu_count()} processors ({', '.join(sorted(models)) or platform.machine()}),"
        f" Python {platform.python_version()}, NumPy {np.__version__}"
    )


class Table:
    """A table in Markdown that is printed row by row."""

    def __init__(self, title: str, path: str, note: str, columns: Sequence[str]) -> None:
        self._write(f"\n### {title}\n\nPath: **{path}**. {note}\n")
        self._write(f"Load when it began: {os.getloadavg()[0]:.1f}.\n")
        self.row(*columns)
        self.row(*["---"] * len(columns))

    def row(self, *cells: object) -> None:
        """Print a row."""
        self._write("| " + " | ".join(map(str, cells)) + " |")

    def end(self) -> None:
        """Print the load at the end."""
        self._write(f"\nLoad when it ended: {os.getloadavg()[0]:.1f}.")

    @staticmethod
    def _write(line: str) -> None:
        print(line, flush=True)
