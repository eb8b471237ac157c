"""Fits side by side with exact nearest-neighbour libraries, in one run.

    python benchmarks/fit.py                              # a quick look, under two minutes
    python benchmarks/fit.py --sizes 1000x100000x400 --kinds smooth --threads 1 2

Every round runs every contender once, so that a noisy machine is noisy for all; times are
medians over the rounds, ratios are medians of the ratios within a round (above 1: Idealfit is
faster). `cold` starts from float64 blocks with nothing prepared, `warm` finds in the cache what
an earlier fit of other curves prepared; the peers' indexes are built before the clock starts.
A peer's answer is wrong if the plain float64 score of its choice is larger than ours; ours is
compared with a full plain scan for a few of the curves.
"""

from __future__ import annotations

import os

# Concurrency is by slices of the library; OpenBLAS reads this once, when it is loaded.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import importlib
import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np

from services.blocks import Block, Library
from services.cache import Cache
from services.fitting import Engine, FitOptions, fit_library
from services.grids import IndexArray
from services.tables import FloatArray, Table

Search = Callable[[], IndexArray]

BLOCK = 1300
"""Curves of a block: 4 MB of 400 points, as the store keeps them."""

MOST = 1e9
"""Work above which scikit-learn is left out; it takes minutes."""

SLICE = 40_000_000
"""Differences that a slow contender is given; its time is scaled to the whole."""


def smooth(random: np.random.Generator, m: int, n: int) -> FloatArray:
    """Sums of a few slow waves of random strength and phase."""
    x = np.linspace(0, 2 * np.pi, n)
    waves = np.concatenate([[np.sin(j * x), np.cos(j * x)] for j in range(1, 9)])
    strength = random.normal(size=(m, len(waves))) / np.repeat(np.arange(1, 9), 2)
    return strength @ waves + random.normal(size=(m, 1))


KINDS = {
    "smooth": smooth,
    "noise": lambda random, m, n: random.normal(size=(m, n)),
    "lifted": lambda random, m, n: smooth(random, m, n) + 1e6,
}


def a_problem(kind: str, k: int, m: int, n: int) -> tuple[FloatArray, FloatArray]:
    """Training curves near some of the library's, and the library."""
    random = np.random.default_rng(1)
    library = np.concatenate(
        [KINDS[kind](random, min(50_000, m - start), n) for start in range(0, m, 50_000)]
    )
    training = library[random.integers(0, m, k)] + random.normal(size=(k, n)) * 0.05
    return (KINDS[kind](random, k, n) if kind == "noise" else training), library


def ours(
    training: FloatArray, library: FloatArray, options: FitOptions, engine: Engine
) -> IndexArray:
    """Choose with Idealfit; shape (k,)."""
    n = library.shape[1]
    grid = np.arange(n, dtype=float)
    blocks = (
        Block(np.arange(start, min(start + BLOCK, len(library))), library[start : start + BLOCK])
        for start in range(0, len(library), BLOCK)
    )
    table = Table(grid, training, tuple(map(str, range(len(training)))))
    matches = fit_library(
        table,
        np.arange(len(training)),
        Library(grid, blocks, "bench"),
        options,
        engine,
    )
    return np.array([match.ideal_index for match in matches if match.rank == 1])


def faiss_search(
    training: FloatArray, library: FloatArray, threads: int, *, tuned: bool
) -> Search | None:
    """Search of FAISS, its index built; None if it is not installed."""
    try:
        faiss = importlib.import_module("faiss")
    except ImportError:
        return None
    default = faiss.cvar.distance_compute_blas_threshold
    index = faiss.IndexFlatL2(library.shape[1])
    for start in range(0, len(library), 50_000):
        index.add(library[start : start + 50_000].astype(np.float32))
    queries = training.astype(np.float32)

    def search() -> IndexArray:
        faiss.omp_set_num_threads(threads)
        faiss.cvar.distance_compute_blas_threshold = 1 if tuned else default
        found = index.search(queries, 1)[1][:, 0]
        faiss.cvar.distance_compute_blas_threshold = default
        return found

    return search


def sklearn_search(training: FloatArray, library: FloatArray, threads: int) -> Search | None:
    """Search of scikit-learn in float64."""
    try:
        metrics = importlib.import_module("sklearn.metrics")
        control = importlib.import_module("threadpoolctl")
    except ImportError:
        return None

    def search() -> IndexArray:
        with control.threadpool_limits(threads):
            return metrics.pairwise_distances_argmin(training, library)

    return search


def plain_cdist(training: FloatArray, library: FloatArray) -> IndexArray:
    """Search of SciPy, which takes plain differences."""
    distance = importlib.import_module("scipy.spatial.distance")
    return np.asarray(distance.cdist(training, library, "sqeuclidean").argmin(axis=1))


def plain_loop(training: FloatArray, library: FloatArray) -> IndexArray:
    """Search as the original script does."""
    return np.array(
        [min(range(len(library)), key=lambda j: np.sum((y - library[j]) ** 2)) for y in training]
    )


def slowly(
    search: Callable[[FloatArray, FloatArray], IndexArray],
    training: FloatArray,
    library: FloatArray,
) -> float:
    """Time of a slow contender on a slice, scaled to the whole."""
    k = min(len(training), 4)
    m = max(1, min(len(library), SLICE // (k * library.shape[1])))
    started = time.perf_counter()
    search(training[:k], library[:m])
    return (time.perf_counter() - started) * (len(training) / k) * (len(library) / m)


def contenders(
    training: FloatArray, library: FloatArray, options: FitOptions, threads: int
) -> dict[str, Search]:
    """What is timed each round, by name."""
    warm, cold = Engine(threads, Cache(8 << 30)), Engine(threads)
    # The cache is filled by a fit of other curves.
    ours(training[::-1] + 0.5, library, options, warm)
    found: dict[str, Search | None] = {
        "idealfit warm": lambda: ours(training, library, options, warm),
        "idealfit cold": lambda: ours(training, library, options, cold),
    }
    plain = (options.criterion, options.transform, options.top_k) == ("sse", "none", 1)
    if plain and not np.isnan(training).any():
        found["faiss default"] = faiss_search(training, library, threads, tuned=False)
        found["faiss tuned"] = faiss_search(training, library, threads, tuned=True)
        if training.size * len(library) <= MOST:
            found["scikit-learn"] = sklearn_search(training, library, threads)
    return {name: search for name, search in found.items() if search is not None}


def run(
    label: str,
    sides: tuple[FloatArray, FloatArray],
    options: FitOptions,
    rounds: int,
    threads: int,
) -> None:
    """Time all contenders on one problem and print their lines."""
    training, library = sides
    found = contenders(training, library, options, threads)
    times: dict[str, list[float]] = {name: [] for name in found}
    answers = {}
    for _ in range(rounds):
        for name, search in found.items():
            started = time.perf_counter()
            answers[name] = search()
            times[name].append(time.perf_counter() - started)
    report(label, times, wrong(training, library, options, answers))
    if options.top_k == 1 and options.transform == "none":
        warm = statistics.median(times["idealfit warm"])
        slow = {"plain loop*": plain_loop} | (
            {"cdist*": plain_cdist} if "faiss tuned" in found else {}
        )
        for name, plain in slow.items():
            took = slowly(plain, training, library)
            print(f"{label:44} {name:14} {took:10.4f} s {'':17} {took / warm:8.1f}", flush=True)


def wrong(
    training: FloatArray,
    library: FloatArray,
    options: FitOptions,
    answers: dict[str, IndexArray],
) -> dict[str, int]:
    """Wrong answers of each contender."""
    choice = answers["idealfit warm"]
    if options.transform != "none" or np.isnan(training).any():
        # The slow path is the judge of these in the tests; here two of ours are compared.
        return {name: int(np.sum(answer != choice)) for name, answer in answers.items()}
    measure = {
        "sse": lambda r: np.sum(r * r, axis=-1),
        "mae": lambda r: np.sum(np.abs(r), axis=-1),
        "max": lambda r: np.max(np.abs(r), axis=-1),
    }[options.criterion]
    for row in range(0, len(training), max(1, len(training) // 4)):
        best = [measure(training[row] - library[s : s + 100]) for s in range(0, len(library), 100)]
        assert choice[row] == np.concatenate(best).argmin()
    least = measure(training - library[choice])
    return {
        name: int(np.sum(measure(training - library[answer]) > least))
        for name, answer in answers.items()
    }


def report(label: str, times: dict[str, list[float]], errors: dict[str, int]) -> None:
    """Print a line for each contender."""
    for name, took in times.items():
        ratios = [a / b for a, b in zip(took, times["idealfit warm"], strict=True)]
        print(
            f"{label:44} {name:14} {statistics.median(took):10.4f} s"
            f" {min(took):8.4f}-{max(took):8.4f} {statistics.median(ratios):8.2f}"
            f"  {errors[name]} wrong",
            flush=True,
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["4x50x400", "100x20000x400"])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--criteria", nargs="+", default=["sse"])
    parser.add_argument("--transforms", nargs="+", default=["none"])
    parser.add_argument("--top-k", nargs="+", type=int, default=[1])
    parser.add_argument("--gaps", type=float, default=0, help="share of training cells")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"{'problem':44} {'contender':14} {'median':>12} {'range':>17} {'ratio':>8}")
    print("(* on a slice, scaled)")
    for size, kind in itertools.product(args.sizes, args.kinds):
        k, m, n = map(int, size.split("x"))
        training, library = a_problem(kind, k, m, n)
        training[np.random.default_rng(2).random(training.shape) < args.gaps] = np.nan
        for threads, criterion, transform, top_k in itertools.product(
            args.threads, args.criteria, args.transforms, args.top_k
        ):
            options = FitOptions(criterion, transform, top_k=top_k)
            label = f"{size} {kind} {criterion} {transform} k={top_k} t={threads}"
            run(label, (training, library), options, args.rounds, threads)


if __name__ == "__main__":
    main()
