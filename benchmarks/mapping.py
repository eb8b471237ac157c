"""Compare the mapping of a million points with a pandas merge and a row loop, in one run.

All of them must give the same assignments and reasons; pandas may give them in any order. Ours
streams: it drops a block when the next one comes, and "all kept" keeps them all. Each timed pandas
run follows an untimed one, because allocating its first gigabytes takes a process seconds.
Path: arrays in memory; nothing is stored.
Run it with: python -m benchmarks mapping
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from services.mapping.assign import assign
from services.mapping.functions import Functions
from services.mapping.items import DEVIATION, MISSING, NOT_COVERED, Items
from services.mapping.limits import admission_limits
from services.mapping.options import MapOptions
from services.mapping.tally import Tally
from services.tables import FloatArray, Table

GRID = np.round(np.arange(-20.0, 20.0, 0.1), 1)
SLICE = 500
"""Points of the row loop; its time is scaled."""


def some_functions(k: int) -> Functions:
    """Make waves at heights 3 apart, seven at each height."""
    place = np.arange(k)[:, np.newaxis]
    curves = np.sin(GRID * (1 + place % 7) / 5) + (place % 3) * GRID / 10 + place // 7 * 3.0
    return Functions(curves, np.ones(k), np.zeros(k), admission_limits(np.full(k, 0.5), 2**0.5))


def some_points(p: int, functions: Functions, *, between: bool = False) -> Table:
    """Make points around the functions, on the grid or between its values, in pieces."""
    random = np.random.default_rng(1)
    x, y = np.empty(p), np.empty((1, p))
    k, n = functions.curves.shape
    for start in range(0, p, 1 << 16):
        piece = slice(start, min(start + (1 << 16), p))
        size = piece.stop - start
        row, function = random.integers(0, n - 1, size), random.integers(0, k, size)
        x[piece] = GRID[row] + (random.uniform(0, 0.1, size) if between else 0.0)
        y[0, piece] = functions.curves[function, row] + random.normal(0, 0.4, size)
    y[0, :: p // 100] = np.nan
    x[1 :: p // 100] = 99.0
    return Table(x, y, ("y",))


def ours(test: Table, functions: Functions, **options: str) -> list[Items]:
    """Return all blocks of items."""
    return list(assign(test, GRID, functions, MapOptions(**options)))  # type: ignore[arg-type]


def streamed(test: Table, functions: Functions, **options: str) -> None:
    """Go through all blocks of items, one at a time."""
    for _ in assign(test, GRID, functions, MapOptions(**options)):  # type: ignore[arg-type]
        pass


def tallied(test: Table, functions: Functions) -> Tally:
    """Map as the service does, without storing the blocks."""
    tally = Tally(len(functions.limit))
    for items in assign(test, GRID, functions, MapOptions()):
        tally.add(items)
    return tally


def merged(test: Table, functions: Functions) -> pd.DataFrame:
    """Map with pandas; assignments come first."""
    names = [f"f{position}" for position in range(len(functions.curves))]
    grid = pd.DataFrame(functions.curves.T, columns=names)
    points = pd.DataFrame({"x": test.x, "y": test.y[0]})
    found = points.merge(grid.assign(x=GRID), on="x", how="left")
    x, y, values = found["x"].to_numpy(), found["y"].to_numpy(), found[names].to_numpy()
    deviation = np.abs(y[:, np.newaxis] - values)
    admitted = deviation <= functions.limit
    point, function = np.nonzero(admitted)
    lost = np.flatnonzero(~admitted.any(axis=1))
    missing = np.isnan(x[lost]) | np.isnan(y[lost])
    covered = ~np.isnan(values[lost]).all(axis=1)
    reason = np.where(missing, MISSING, np.where(covered, 1, NOT_COVERED))
    parts = (
        (point, function, 0, deviation[point, function]),
        (lost, -1, reason, np.nan),
    )
    columns = ("point", "function", "reason", "deviation")
    frames = [
        pd.DataFrame(dict(zip(columns, part, strict=True))).assign(x=x[part[0]], y=y[part[0]])
        for part in parts
    ]
    return pd.concat(frames, ignore_index=True)


def looped(test: Table, functions: Functions) -> list[tuple[int, int, int, float]]:
    """Map with the row loop of the original script."""
    frame = pd.DataFrame(functions.curves.T, index=GRID)
    items = []
    for point, (x, y) in enumerate(zip(test.x[:SLICE], test.y[0, :SLICE], strict=True)):
        if np.isnan(x) or np.isnan(y) or x not in frame.index:
            reason = MISSING if np.isnan(x) or np.isnan(y) else NOT_COVERED
            items.append((point, -1, reason, np.nan))
            continue
        deviations = [abs(y - value) for value in frame.loc[x]]
        admitting = [
            (point, function, 0, deviation)
            for function, deviation in enumerate(deviations)
            if deviation <= functions.limit[function]
        ]
        items += admitting or [(point, -1, DEVIATION, np.nan)]
    return items


def check(test: Table, functions: Functions) -> None:
    """Assert that all sides agree."""
    items = np.concatenate(ours(test, functions))
    frame = merged(test, functions).sort_values(["point", "function"])
    for name in frame.columns:
        assert np.array_equal(items[name], frame[name].to_numpy(), equal_nan=True), name
    for position, name in enumerate(("point", "function", "reason", "deviation")):
        column: FloatArray = np.array([row[position] for row in looped(test, functions)])
        assert np.array_equal(items[name][: column.size], column, equal_nan=True), name


def compare(p: int, k: int, rounds: int) -> None:
    """Time all sides in alternating rounds and print their ratios to ours."""
    functions = some_functions(k)
    test, between = some_points(p, functions), some_points(p, functions, between=True)
    check(test, functions)
    sides: dict[str, Callable[[], object]] = {
        "ours": lambda: streamed(test, functions),
        "pandas merge": lambda: merged(test, functions),
        "ours, all kept": lambda: ours(test, functions),
        "ours, linear, x between": lambda: streamed(between, functions, alignment="linear"),
        "ours, nearest": lambda: streamed(test, functions, policy="nearest"),
        "ours, with tally": lambda: tallied(test, functions),
        "row loop (slice, scaled)": lambda: looped(test, functions),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            scale = p / SLICE if "loop" in name else 1.0
            if "pandas" in name:
                side()
            begin = time.perf_counter()
            side()
            times[name].append((time.perf_counter() - begin) * scale)
    print(f"\n{p:,} points x {k} functions, {rounds} rounds\n{'time / ours':>11}   seconds (range)")
    for name, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(found, times["ours"], strict=True))
        median, low, high = statistics.median(found), min(found), max(found)
        print(f"{ratio:11.2f}   {median:.3f} ({low:.3f} to {high:.3f})  {name}")


def peak(p: int) -> None:
    """Map in this process, keep nothing, and print the peak memory."""
    functions = some_functions(4)
    test = some_points(p, functions)
    begin = time.perf_counter()
    tally = tallied(test, functions)
    seconds = time.perf_counter() - begin
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{p:,} points x 4 functions: {tally.n_assignments:,} assignments, {seconds:.2f} s")
    print(f"peak {size:.0f} MiB, {p * 16 / 2**20:.0f} of them the points", flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", type=int, help="only the peak memory of so many points")
    asked = parser.parse_args()
    if asked.peak:
        peak(asked.peak)
        return
    # First, while this process is small: a child starts from the peak of its parent.
    command = [sys.executable, "-m", "benchmarks.mapping", "--peak", str(10 * asked.points)]
    subprocess.run(command, check=True)
    for k in (4, 100):
        compare(asked.points, k, asked.rounds)


if __name__ == "__main__":
    main()
