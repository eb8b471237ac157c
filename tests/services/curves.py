"""Curves of many sorts, and bases of them, for the tests of bounds and fits."""

import numpy as np
from hypothesis import strategies as st

from services.bounds.sketch import Basis, make_basis, make_plain_basis


@st.composite
def draw_curves(draw, kinds=("noise", "waves", "walk", "ticks")):
    """Draw training and library curves of one sort, of any size and lift, some nearly the same."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.sampled_from([1, 2, 3, 7, 16, 33, 70, 129]))
    k, m = 3, draw(st.sampled_from([1, 5, 40, 150]))
    x = np.linspace(0, 6, n)
    kind = draw(st.sampled_from(kinds))
    values = {
        "noise": lambda: random.normal(size=(k + m, n)),
        "waves": lambda: random.normal(size=(k + m, 6)) @ np.sin(np.outer(np.arange(6), x)),
        "walk": lambda: np.cumsum(random.normal(size=(k + m, n)), axis=1),
        "ticks": lambda: random.integers(-2, 3, (k + m, n)).astype(float),
    }[kind]()
    near = draw(st.sampled_from([0, 2.0**-10, 2.0**-24, 2.0**-26, 2.0**-40, 1.0]))
    values[:k] = values[k : k + 1] + near * random.normal(size=(k, n))
    rows = st.sampled_from([0, 0, 1, 20, 40, 200])
    values = np.ldexp(values, random.integers(-1, 2, (k + m, 1)) * draw(rows))
    lift = draw(st.sampled_from([0, 0, 1, 1e3, 1e6, 1e8, 1e12, 1e16]))
    lifts = st.sampled_from([np.ones((k + m, 1)), random.integers(-2, 3, (k + m, 1))])
    values = values + lift * draw(lifts)
    scale = draw(st.sampled_from([0, 0, 10, -10, 60, -60, 140, -140, 500, -500, 800, -900, -1060]))
    with np.errstate(all="ignore"):
        values = np.ldexp(values, scale)
    if draw(st.booleans()):
        values[-1] = values[-1, 0]
    values[~np.isfinite(values)] = 1.5e308
    return values[:k].copy(), values[k:].copy()


def some_basis(library, sort):
    """Make a basis: all axes, one learned, or vectors that are hardly orthonormal."""
    if sort == "learned":
        return make_basis(library, n_vectors=8) or make_plain_basis(library)
    plain = make_plain_basis(library)
    if sort == "plain" or plain is None or library.shape[1] < 8:
        return plain
    random = np.random.default_rng(3)
    vectors, _ = np.linalg.qr(random.normal(size=(library.shape[1], 5)))
    vectors *= 1 + random.normal(size=vectors.shape) * (1e-6 if sort == "skewed" else 0)
    return Basis(plain.n, plain.exponent, plain.centre, vectors)


BASES = ("plain", "learned", "random", "skewed")
