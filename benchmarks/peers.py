"""Exact nearest-neighbour searches of other libraries, on arrays of this process and one thread.

Import this before NumPy: OpenBLAS and OpenMP read the environment once. The threads of FAISS spin
while they wait unless OMP_WAIT_POLICY is passive, and then take the processors of the others.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"

import importlib
from collections.abc import Callable

import numpy as np

from services.grids import IndexArray
from services.tables import FloatArray

Search = Callable[[FloatArray], IndexArray]


def find_peers(library: FloatArray) -> dict[str, Search]:
    """Return the searches of all peers by name; indexes are built here, outside the clock."""
    return {
        "FAISS, tuned": search_faiss(library),
        "NumPy, one line": lambda training: search_in_one_line(training, library),
        "scikit-learn brute": search_sklearn(library),
    }


def search_faiss(library: FloatArray) -> Search:
    """Return the search of IndexFlatL2 in float32, by matrix products whatever the size."""
    faiss = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)
    faiss.cvar.distance_compute_blas_threshold = 1
    index = faiss.IndexFlatL2(library.shape[1])
    for start in range(0, len(library), 50_000):
        index.add(library[start : start + 50_000].astype(np.float32))
    return lambda training: index.search(training.astype(np.float32), 1)[1][:, 0]


def search_sklearn(library: FloatArray) -> Search:
    """Return the search of scikit-learn in float64."""
    metrics = importlib.import_module("sklearn.metrics")
    limits = importlib.import_module("threadpoolctl").threadpool_limits

    def search(training: FloatArray) -> IndexArray:
        with limits(1):
            return np.asarray(metrics.pairwise_distances_argmin(training, library))

    return search


def search_in_one_line(training: FloatArray, library: FloatArray) -> IndexArray:
    """Choose by expanded squares, whose rounding decides."""
    return np.asarray(((library**2).sum(axis=1) - 2 * training @ library.T).argmin(axis=1))
