"""Some kernels of OpenBLAS raise floating-point flags that mean nothing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from services.bounds.product import make_library_side
from services.bounds.sketch import make_plain_basis
from tests.waiting import PATIENCE

BOUNDS = [
    "tests/services/bounds/test_product.py",
    "tests/services/bounds/test_kernels.py",
    "tests/services/fitting/test_search.py",
]


@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("m", [1, 3, 5, 7, 33])
def test_a_product_with_unknown_curves_warns_of_nothing(k, m):
    library = np.random.default_rng(m).normal(size=(m, 3))
    basis = make_plain_basis(library)
    library[-1, 0] = np.nan
    side = make_library_side(library, basis, "none")
    training = np.ones((k, side.n_terms), np.float32)
    out = np.zeros((k, m), np.float32)
    side.multiply(training, slice(0, m), out)
    assert (out[:, -1] == -np.inf).all()
    assert np.isfinite(out[:, :-1]).all()


@pytest.mark.thorough
@pytest.mark.parametrize("processor", ["Haswell", "Zen"])
def test_the_bounds_hold_with_the_kernels_of_other_processors(processor):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not thorough", *BOUNDS],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"OPENBLAS_CORETYPE": processor},
        capture_output=True,
        text=True,
        check=False,
        timeout=10 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout
