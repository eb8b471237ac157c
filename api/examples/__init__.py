"""Example data of our own making: 4 training curves, 50 ideal functions, 100 test points.

`python -m api.examples` writes the three CSV files anew, always the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.export.writers import csv_lines
from services.tables import FloatArray, Table

FOLDER = Path(__file__).parent

SEED = 20_261_122
CHOSEN = (3, 17, 28, 41)
"""Positions of the ideal functions behind the training curves."""

NOISE = 0.3
"""Largest deviation of a training point from its ideal function."""

DECIMALS = 6
"""Fewer digits than the functions of any two machines differ in."""


def make() -> dict[str, Table]:
    """Build the three tables: training, ideal, test."""
    random = np.random.default_rng(SEED)
    x = np.round(np.linspace(-10, 9.95, 400), 2)
    ideal = np.stack([_ideal(x, position) for position in range(50)])
    training = ideal[list(CHOSEN)] + random.uniform(-NOISE, NOISE, (len(CHOSEN), x.size))
    rows = random.choice(x.size, 100)
    y = ideal[random.choice(CHOSEN, 100), rows] + random.normal(0, NOISE, 100)
    return {
        "training": _table(x, training),
        "ideal": _table(x, ideal),
        "test": _table(x[rows], y[np.newaxis]),
    }


def _ideal(x: FloatArray, position: int) -> FloatArray:
    """Return one of five shapes, wider and higher with its position."""
    step = 1 + position // 5
    shapes = (
        lambda: step * np.sin(x / step),
        lambda: step * 0.02 * x**2 - step,
        lambda: 5 * np.tanh(x / step) + step / 2,
        lambda: 12 * np.exp(-(((x - step + 5) / step) ** 2)),
        lambda: 0.2 * step * x + np.cos(step * x / 4),
    )
    return np.asarray(shapes[position % 5]())


def _table(x: FloatArray, y: FloatArray) -> Table:
    names = ("y",) if len(y) == 1 else tuple(f"y{i}" for i in range(1, len(y) + 1))
    return Table(x, np.round(y, DECIMALS), names)


def write(folder: Path) -> None:
    """Write the three files."""
    for name, table in make().items():
        lines = csv_lines(table.columns, [table.x, *table.y])
        (folder / f"{name}.csv").write_bytes(b"".join(lines))
