"""Whole POST /v1/fits over HTTP, beside searches on arrays in memory.

Ours is a request to `idealfit serve` with one web process, and everything is stored: a match with
all its statistics for each training curve. No two requests fit the same training curves. `cold` is
the first fit of a new process. The peers run in this process on one thread, with the index built
before the clock starts, and return positions only.

Each round runs every contender once. Ratios are of the same round; above 1 ours is faster.
`processor` is the processor time of all processes of the service, for one request. `wrong` counts
choices whose plain float64 sum of squares is larger than that of another contender.
"""

from __future__ import annotations

from benchmarks import peers  # isort: skip - it sets threads before NumPy is loaded

import argparse
import functools
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.problems import MEANING, make_library, make_training, squares
from benchmarks.service import ARROW, Server, as_arrow, new_database, postgres, serving
from benchmarks.tables import HTTP, Table, Times, milliseconds, ratios, seconds, spread
from services.grids import IndexArray
from services.tables import FloatArray

CASES = (
    "100x20000x400 smooth",
    "100x20000x400 near",
    "100x20000x400 unrelated",
    "100x100000x400 smooth",
    "100x100000x400 near",
    "4x50x400 smooth",
)

WARM_UPS = 2
STARTS = 2
"""Processes whose first fit is timed."""

SMALL = 1000
"""Pairs of a fit below which it is repeated more often."""

LARGE = 50_000
"""Curves of a library above which SQLite alone is measured."""

OURS = "Idealfit, {}"


@dataclass
class Problem:
    """A library, training curves for each request, and the ids that each service gave them."""

    label: str
    library: FloatArray
    training: list[FloatArray]
    folder: Path
    databases: dict[str, str]
    ids: dict[str, list[str]] = field(default_factory=dict)

    def serve(self, store: str, stack: ExitStack) -> Server:
        """Start the service on a database."""
        return stack.enter_context(serving(self.folder, self.databases[store]))

    def upload(self, store: str, server: Server) -> None:
        """Store the library and all training curves."""
        library = server.upload("library", as_arrow(self.library, "f"), ARROW)
        self.ids[store] = [library, *(store_curves(server, y) for y in self.training)]

    def fit(self, store: str, server: Server, seed: int) -> bool:
        """Fit the training curves of a seed, and tell whether that was done in the request."""
        library, training = self.ids[store][0], self.ids[store][1 + seed]
        return server.finish("/v1/fits", {"training_id": training, "ideal_id": library})[1]

    def read_choices(self, store: str, server: Server, seed: int) -> IndexArray:
        """Fit once more, and return the positions of the chosen curves."""
        library, training = self.ids[store][0], self.ids[store][1 + seed]
        fields = {"training_id": training, "ideal_id": library}
        matches = server.finish("/v1/fits", fields)[0]["matches"]["items"]
        return np.array([match["ideal_index"] for match in matches])


def store_curves(server: Server, y: FloatArray) -> str:
    """Post training curves as JSON and return the id of the dataset."""
    columns = {"x": np.arange(float(y.shape[1]))}
    columns |= {f"y{position}": curve for position, curve in enumerate(y)}
    return str(server.post("/v1/datasets", {"name": "training", "columns": columns})["id"])


def time_cold(problem: Problem, store: str, stack: ExitStack) -> tuple[Server, Times]:
    """Return the seconds of the first fit of new processes, and the last of them.

    Another process takes the uploads.
    """
    with ExitStack() as first:
        problem.upload(store, problem.serve(store, first))
    found = []
    for seed in range(STARTS):
        own = stack if seed == STARTS - 1 else ExitStack()
        server = problem.serve(store, own)
        found.append(seconds(functools.partial(problem.fit, store, server, seed)))
        if own is not stack:
            own.close()
    return server, found


@dataclass
class Found:
    """Times of one contender by the clock, and its processor time in milliseconds."""

    times: Times = field(default_factory=list)
    processor: float = 0.0
    queued: int = 0


def run_round(
    problem: Problem, servers: dict[str, Server], searches: dict[str, peers.Search], seed: int
) -> dict[str, tuple[float, float, bool]]:
    """Return seconds, processor time and whether nothing was queued, by contender."""
    found = {}
    for store, server in servers.items():
        before, started = server.processor_ms(), time.perf_counter()
        was_direct = problem.fit(store, server, seed)
        took = time.perf_counter() - started
        found[OURS.format(store)] = took, server.processor_ms() - before, was_direct
    for name, search in searches.items():
        used, started = time.process_time(), time.perf_counter()
        search(problem.training[seed])
        took = time.perf_counter() - started
        found[name] = took, 1e3 * (time.process_time() - used), True
    return found


def count_wrong(
    problem: Problem, servers: dict[str, Server], searches: dict[str, peers.Search]
) -> dict[str, int]:
    """Count the choices of each contender that another one betters."""
    seed = len(problem.training) - 1
    training = problem.training[seed]
    choices = {
        OURS.format(store): problem.read_choices(store, server, seed)
        for store, server in servers.items()
    }
    choices |= {name: search(training) for name, search in searches.items()}
    scores = {name: squares(training, problem.library[chosen]) for name, chosen in choices.items()}
    least = functools.reduce(np.minimum, scores.values())
    return {name: int(np.sum(score > least)) for name, score in scores.items()}


def compare(problem: Problem, table: Table) -> None:
    """Print a row for each contender on one problem."""
    searches = peers.find_peers(problem.library)
    with ExitStack() as stack:
        servers, cold = {}, {}
        for store in problem.databases:
            servers[store], cold[OURS.format(store)] = time_cold(problem, store, stack)
        found: dict[str, Found] = {}
        for seed in range(len(problem.training)):
            for name, (took, used, direct) in run_round(problem, servers, searches, seed).items():
                if seed >= WARM_UPS:
                    one = found.setdefault(name, Found())
                    one.times.append(took)
                    one.processor += used
                    one.queued += not direct
        wrong = count_wrong(problem, servers, searches)
    show(problem.label, found, cold, wrong, table)


def show(
    label: str, found: dict[str, Found], cold: dict[str, Times], wrong: dict[str, int], table: Table
) -> None:
    """Print the rows of one problem."""
    faiss, line = (found[name].times for name in ("FAISS, tuned", "NumPy, one line"))
    for name, one in found.items():
        is_ours = name in cold
        beside = [spread(ratios(peer, one.times)) if is_ours else "" for peer in (faiss, line)]
        table.row(
            label,
            name,
            milliseconds(one.times),
            f"{one.processor / len(one.times):.1f}",
            *beside,
            milliseconds(cold[name]) if is_ours else "",
            f"{statistics.median(cold[name]) / statistics.median(one.times):.1f}"
            if is_ours
            else "",
            wrong[name],
            f"{one.queued} of {len(one.times)}" if is_ours else "",
        )


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks fits",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="'KxMxN KIND'")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--stores", nargs="+", default=["SQLite", "PostgreSQL"], choices=["SQLite", "PostgreSQL"]
    )
    args = parser.parse_args(arguments)
    columns = ["case", "contender", "warm, ms", "processor, ms", "FAISS / ours", "NumPy / ours"]
    columns += ["cold, ms", "cold / warm", "wrong", "queued"]
    note = (
        f"Medians (least–most) of {args.rounds} rounds, ten times as many for 4 × 50; everything"
        " is stored. Peers: in this process, one thread, index built, positions only."
    )
    table = Table("Fits", HTTP, note, columns)
    with ExitStack() as stack:
        url = stack.enter_context(postgres()) if "PostgreSQL" in args.stores else ""
        for number, case in enumerate(args.cases):
            size, kind = case.split()
            k, m, n = map(int, size.split("x"))
            library = make_library(kind, m, n)
            rounds = args.rounds * (10 if k * m < SMALL else 1) + WARM_UPS
            training = [make_training(kind, library, k, seed) for seed in range(rounds)]
            label = f"{size.replace('x', ' × ')}, {MEANING[kind]}"
            with tempfile.TemporaryDirectory() as folder:
                databases = dict.fromkeys(args.stores, "")
                if m > LARGE:
                    databases = {"SQLite": ""}
                elif url:
                    databases["PostgreSQL"] = new_database(url, f"fits{number}")
                compare(Problem(label, library, training, Path(folder), databases), table)
    table.end()


if __name__ == "__main__":
    main()
