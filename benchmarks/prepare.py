"""Seconds that each step of `prepare` takes on a library, and the memory of its blocks.

Path: arrays in memory, block by block, without HTTP and without a database.
Run it with: python -m benchmarks prepare
"""

from __future__ import annotations

import argparse
import tracemalloc
from functools import partial

import numpy as np

from benchmarks.tables import Table, alternate, spread
from services.preparing.absolute import Absolute
from services.preparing.asls import Asls
from services.preparing.baseline import Baseline
from services.preparing.convert import Convert
from services.preparing.derivative import Derivative
from services.preparing.normalize import Normalize
from services.preparing.prepare import Preparation, plan_preparation, prepare_block
from services.preparing.regions import Regions
from services.preparing.resample import Resample
from services.preparing.smooth import Smooth
from services.preparing.steps import Step

PATH = "arrays in memory"

STEPS: dict[str, Step] = {
    "regions": Regions(use=((450.0, 1700.0),)),
    "resample": Resample(step=5.0),
    "smooth 11, 3": Smooth(11, 3),
    "derivative 1, 11, 3": Derivative(1, 11, 3),
    "derivative 2, plain": Derivative(2),
    "baseline, degree 5": Baseline(5),
    "asls": Asls(),
    "absolute": Absolute(),
    "normalize snv": Normalize("snv"),
    "normalize area": Normalize("area"),
    "convert x": Convert(x=("nm", "cm-1")),
    "transmittance to absorbance": Convert(y=("transmittance", "absorbance")),
    "absorbance to transmittance": Convert(y=("absorbance", "transmittance")),
}


def make_spectra(count: int, n: int, gap_share: float) -> np.ndarray:
    """Make bands on a sloping line, with noise and gaps of their own in some of the curves."""
    rng = np.random.default_rng(1)
    x = np.linspace(0, 1, n)
    y = 0.1 + x * rng.random((count, 1)) + rng.normal(0, 0.002, (count, n))
    for _ in range(4):
        place, width = rng.random((count, 1)), rng.uniform(0.005, 0.03, (count, 1))
        y += rng.random((count, 1)) * np.exp(-0.5 * ((x - place) / width) ** 2)
    y[(rng.random((count, 1)) < gap_share) & (rng.random((count, n)) < 2 / n)] = np.nan
    return y


def work(y: np.ndarray, preparation: Preparation, curves: int) -> None:
    """Prepare all curves in turn, a block at a time; a block is dropped when it is done."""
    for start in range(0, curves, len(y)):
        prepare_block(y[: min(len(y), curves - start)], preparation)


def measure_memory(y: np.ndarray, preparation: Preparation) -> int:
    """Measure the most bytes that one block takes, its result included."""
    tracemalloc.start()
    prepare_block(y, preparation)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=400)
    parser.add_argument("--block", type=int, default=10_000)
    parser.add_argument("--gap-share", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(STEPS), default=list(STEPS))
    asked = parser.parse_args()
    x = np.linspace(400.0, 1800.0, asked.points)
    y = make_spectra(asked.block, asked.points, asked.gap_share)
    plans = {name: plan_preparation(x, [STEPS[name]]) for name in asked.only}
    works = {name: partial(work, y, plan, asked.curves) for name, plan in plans.items()}
    times = alternate(works, asked.rounds)
    title = f"Steps on {asked.curves:,} curves of {asked.points} points"
    note = f"Blocks of {asked.block:,} curves; {asked.rounds} rounds."
    table = Table(title, PATH, note, ["step", "s", "MB of a block"])
    for name, plan in plans.items():
        table.row(name, spread(times[name]), f"{measure_memory(y, plan) / 1e6:.0f}")
    table.end()


if __name__ == "__main__":
    main()
