"""Libraries and training curves that the benchmarks of fits share."""

from __future__ import annotations

import numpy as np

from services.tables import FloatArray

PIECE = 50_000
"""Curves that are made at once."""

NEAR_SD = 0.1
"""Noise of training curves that are near curves of the library."""


def smooth(random: np.random.Generator, m: int, n: int) -> FloatArray:
    """Make sums of a few slow waves of random strength and phase."""
    x = np.linspace(0, 2 * np.pi, n)
    waves = np.concatenate([[np.sin(j * x), np.cos(j * x)] for j in range(1, 9)])
    strength = random.normal(size=(m, len(waves))) / np.repeat(np.arange(1, 9), 2)
    return strength @ waves + random.normal(size=(m, 1))


def noise(random: np.random.Generator, m: int, n: int) -> FloatArray:
    """Make curves of independent normal numbers."""
    return random.normal(size=(m, n))


KINDS = {
    "smooth": smooth,
    "near": noise,
    "unrelated": noise,
    "noise": noise,
    "lifted": lambda random, m, n: smooth(random, m, n) + 1e6,
}
"""Curves of a library. `near`, `unrelated` and `noise` differ in their training curves only."""

MEANING = {
    "smooth": "smooth curves",
    "near": "noise, near library curves",
    "unrelated": "noise, unrelated to the library",
    "lifted": "smooth curves lifted by 1e6",
}


def make_library(kind: str, m: int, n: int) -> FloatArray:
    """Make a library, always the same."""
    random = np.random.default_rng(1)
    return np.concatenate(
        [KINDS[kind](random, min(PIECE, m - start), n) for start in range(0, m, PIECE)]
    )


def make_training(kind: str, library: FloatArray, k: int, seed: int) -> FloatArray:
    """Make training curves: library curves with noise, or unrelated ones; each seed has its own."""
    random = np.random.default_rng(1000 + seed)
    m, n = library.shape
    if kind == "unrelated":
        return KINDS[kind](random, k, n)
    return library[random.integers(0, m, k)] + random.normal(size=(k, n)) * NEAR_SD


def squares(y: FloatArray, f: FloatArray) -> FloatArray:
    """Return plain sums of squared differences."""
    return np.asarray(np.sum((y - f) ** 2, axis=-1))
