"""Compare fits of curves in memory with exact nearest-neighbour libraries, in one run.

Path: library in memory. This is the engine alone: neither requests nor the database, and no
sketches. `python -m benchmarks fits` times whole requests.

    python -m benchmarks memory                # 4 x 50 and 100 x 20 000 curves, some minutes
    python -m benchmarks memory --full         # up to 1 000 000 curves, half an hour, 10 GB
    python -m benchmarks memory --sizes 1000x100000x400 --kinds smooth --threads 1 2

It prints four tables: fits beside peers; 4 x 50 curves, the size of the original script, beside its
loop; the extra cost of offset, scale, affine, gaps and ten matches over a plain fit; mae and max
beside the loop.

Every round runs every contender once, so that noise of the machine affects all; times are
medians over the rounds, ratios are medians of the ratios within a round (above 1: Idealfit is
faster). `cold` starts from float64 blocks with nothing prepared; `warm` uses the cache that an
earlier fit of other curves filled. The peers' indexes are built before the clock starts.
Idealfit uses one thread; `--threads` sets the threads of the peers.
FAISS runs with OMP_WAIT_POLICY=passive, because its waiting threads would otherwise spin on the
processors that the next contender needs.
A peer's answer is wrong if the plain float64 score of its choice is larger than ours; ours is
compared with a full plain scan for a few of the curves.
"""

from __future__ import annotations

import os

# Concurrency is by slices of the library; OpenBLAS reads this once, when it is loaded.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"

import argparse
import functools
import importlib
import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np

from services.bounds.expanded import expand_squares, find_within, propose_expanded
from services.choices import Criterion
from services.fitting.blocks import Block, Library
from services.fitting.cache import Cache
from services.fitting.fit import finish, rank_library
from services.fitting.prepare import prepare
from services.grids import IndexArray
from services.scoring.matches import Match
from services.scoring.options import FitOptions
from services.scoring.training import Group
from services.tables import FloatArray, Table

Search = Callable[[], IndexArray]

BLOCK = 1300
"""Curves of a block: 4 MB of 400 points, as the store keeps them."""

MOST = 1e9
"""Work above which scikit-learn and FAISS by default are left out; they take minutes."""

FULL = ["100x20000x400", "1000x100000x400", "100x1000000x256"]
"""Sizes of all lines that are asked for, but for the smallest."""

SLICE = 4_000_000
"""Differences that a slow contender is given; its time is scaled to the whole."""


def smooth(random: np.random.Generator, m: int, n: int) -> FloatArray:
    """Make sums of a few slow waves of random strength and phase."""
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
    """Make a library, and training curves near some of its curves."""
    random = np.random.default_rng(1)
    library = np.concatenate(
        [KINDS[kind](random, min(50_000, m - start), n) for start in range(0, m, 50_000)]
    )
    training = library[random.integers(0, m, k)] + random.normal(size=(k, n)) * 0.05
    return (KINDS[kind](random, k, n) if kind == "noise" else training), library


def ours(
    training: FloatArray, library: FloatArray, options: FitOptions, cache: Cache | None
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
        cache,
    )
    return np.array([match.ideal_index for match in matches if match.rank == 1])


def faiss_search(
    training: FloatArray, library: FloatArray, threads: int, *, tuned: bool
) -> Search | None:
    """Return the search of FAISS with its index built; None if FAISS is not installed."""
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
    """Return the search of scikit-learn in float64."""
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
    """Return the search of SciPy, which computes plain differences."""
    distance = importlib.import_module("scipy.spatial.distance")
    return np.asarray(distance.cdist(training, library, "sqeuclidean").argmin(axis=1))


def plain_loop(
    training: FloatArray,
    library: FloatArray,
    measure: Callable[[FloatArray], FloatArray] = lambda r: np.sum(r**2),
) -> IndexArray:
    """Search with the loop of the original script."""
    return np.array(
        [min(range(len(library)), key=lambda j: measure(y - library[j])) for y in training]
    )


def slowly(
    search: Callable[[FloatArray, FloatArray], IndexArray],
    training: FloatArray,
    library: FloatArray,
) -> float:
    """Time a slow contender on a slice and scale the time to the whole."""
    k = min(len(training), 4)
    m = max(1, min(len(library), SLICE // (k * library.shape[1])))
    started = time.perf_counter()
    search(training[:k], library[:m])
    return (time.perf_counter() - started) * (len(training) / k) * (len(library) / m)


def contenders(
    training: FloatArray, library: FloatArray, options: FitOptions, threads: int
) -> dict[str, Search]:
    """Return the functions that each round times, by name."""
    warm, cold = Cache(8 << 30), None
    # The cache is filled by a fit of other curves.
    ours(training[::-1] + 0.5, library, options, warm)
    found: dict[str, Search | None] = {
        "idealfit warm": lambda: ours(training, library, options, warm),
        "idealfit cold": lambda: ours(training, library, options, cold),
    }
    found["faiss tuned"] = faiss_search(training, library, threads, tuned=True)
    if training.size * len(library) <= MOST:
        found["faiss default"] = faiss_search(training, library, threads, tuned=False)
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
    report(label, times, wrong(training, library, answers))
    warm = statistics.median(times["idealfit warm"])
    for name, plain in {"plain loop*": plain_loop, "cdist*": plain_cdist}.items():
        took = slowly(plain, training, library)
        print(f"{label:34} {name:14} {took * 1e3:10.2f} ms {'':19} {took / warm:8.1f}", flush=True)


def wrong(
    training: FloatArray, library: FloatArray, answers: dict[str, IndexArray]
) -> dict[str, int]:
    """Count the wrong answers of each contender."""
    choice = answers["idealfit warm"]
    for row in range(0, len(training), max(1, len(training) // 4)):
        best = [scores_of(training[row], library[s : s + 100]) for s in range(0, len(library), 100)]
        assert choice[row] == np.concatenate(best).argmin()
    least = scores_of(training, library[choice])
    return {
        name: int(np.sum(scores_of(training, library[answer]) > least))
        for name, answer in answers.items()
    }


def scores_of(y: FloatArray, f: FloatArray) -> FloatArray:
    """Return plain sums of squares."""
    return np.asarray(np.sum((y - f) ** 2, axis=-1))


def report(label: str, times: dict[str, list[float]], errors: dict[str, int]) -> None:
    """Print a line for each contender."""
    for name, took in times.items():
        ratios = [a / b for a, b in zip(took, times["idealfit warm"], strict=True)]
        print(
            f"{label:34} {name:14} {statistics.median(took) * 1e3:10.2f} ms"
            f" {min(took) * 1e3:8.2f} -{max(took) * 1e3:9.2f} {statistics.median(ratios):8.2f}"
            f"  {errors[name]} wrong",
            flush=True,
        )


def peers(args: argparse.Namespace) -> None:
    """Print the table of fits beside peers."""
    print(f"\n{'problem':34} {'contender':14} {'median':>13} {'range':>19} {'ratio':>8}")
    print("(* on a slice, scaled)")
    for size, kind in itertools.product(args.sizes, args.kinds):
        sides = a_problem(kind, *map(int, size.split("x")))
        for threads in args.threads:
            run(f"{size} {kind}, threads {threads}", sides, FitOptions(), args.rounds, threads)


def timed(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time some functions in alternating rounds, by name."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run_it in work.items():
            started = time.perf_counter()
            run_it()
            times[name].append(time.perf_counter() - started)
    return times


def fit_library(
    training: Table,
    indices: IndexArray,
    library: Library,
    options: FitOptions,
    cache: Cache | None = None,
) -> list[Match]:
    """Fit training curves to a library, from its check to its matches."""
    prepared = prepare(training, indices, library.grid, options)
    return finish(prepared, rank_library(prepared, library, cache))


def chosen_alone(group: Group, library: FloatArray) -> IndexArray:
    """Choose curves for a few training curves, with proof but without statistics."""
    compared = expand_squares(group.y, group.read(library))
    assert compared is not None
    rows, likely = np.arange(len(group.y)), compared.likeness.argmax(axis=1)
    score = group.score(rows, library[likely], FitOptions())
    near = find_within(compared, score, FitOptions()).columns
    assert near.tolist() == likely.tolist()
    return likely


def original(rounds: int) -> None:
    """Compare fits of the original script's size with its loop; nothing is cached."""
    training, library = a_problem("smooth", 4, 50, 400)
    grid, first, blocks = np.arange(400.0), np.arange(4), [Block(np.arange(50), library)]
    table, options = Table(grid, training, ("y1", "y2", "y3", "y4")), FitOptions()
    plain = Library(grid, blocks)
    (group,) = prepare(table, first, grid, options).groups
    limits = np.full(4, np.inf)
    times = timed(
        {
            "plain loop, chooses": lambda: plain_loop(training, library),
            "complete fit, all figures": lambda: fit_library(table, first, plain, options),
            "chooses, with the figures": lambda: propose_expanded(group, library, limits, options),
            "chooses": lambda: chosen_alone(group, library),
        },
        40 * rounds,
    )
    chosen = [match.ideal_index for match in fit_library(table, first, plain, options)]
    assert chosen == plain_loop(training, library).tolist()
    assert chosen == chosen_alone(group, library).tolist()
    print(f"\n{'4 x 50 curves of 400 points':44} {'median':>11} {'least':>11} {'loop / it':>9}")
    for name, took in times.items():
        ratios = [a / b for a, b in zip(times["plain loop, chooses"], took, strict=True)]
        print(
            f"{name:44} {statistics.median(took) * 1e6:8.0f} us {min(took) * 1e6:8.0f} us"
            f" {statistics.median(ratios):9.1f}",
            flush=True,
        )


def variants(size: str, rounds: int) -> None:
    """Print the extra cost of options over a plain fit, warm, on one thread."""
    print(f"\n{size + ', warm, over a plain fit':44} {'median':>11} {'ratio':>9}")
    for kind in ("smooth", "noise"):
        training, library = a_problem(kind, *map(int, size.split("x")))
        gaps = training.copy()
        gaps[np.random.default_rng(2).random(training.shape) < 0.1] = np.nan  # noqa: PLR2004 - a tenth
        cache = Cache(8 << 30)
        cases = {
            "plain": (training, FitOptions()),
            "offset": (training, FitOptions(transform="offset")),
            "scale": (training, FitOptions(transform="scale")),
            "affine": (training, FitOptions(transform="affine")),
            "a tenth of the training cells missing": (gaps, FitOptions()),
            "ten matches": (training, FitOptions(top_k=10)),
        }
        work: dict[str, Callable[[], object]] = {}
        for name, (y, options) in cases.items():
            ours(y[::-1] + 0.5, library, options, cache)
            work[name] = functools.partial(ours, y, library, options, cache)
        times = timed(work, rounds)
        for name, took in times.items():
            ratios = [a / b for a, b in zip(took, times["plain"], strict=True)]
            print(
                f"{kind + ': ' + name:44} {statistics.median(took) * 1e3:8.2f} ms"
                f" {statistics.median(ratios):9.2f}",
                flush=True,
            )


def deviations(size: str, rounds: int) -> None:
    """Compare the mae and max criteria with the plain loop, on one thread."""
    print(f"\n{size + ', warm, beside the loop*':44} {'median':>11} {'loop / it':>9}")
    for kind in ("smooth", "noise"):
        training, library = a_problem(kind, *map(int, size.split("x")))
        criteria: tuple[tuple[Criterion, Callable[[FloatArray], FloatArray]], ...] = (
            ("mae", lambda r: np.sum(np.abs(r)) / r.size),
            ("max", lambda r: np.max(np.abs(r))),
        )
        for criterion, measure in criteria:
            loop = functools.partial(plain_loop, measure=measure)
            options, cache = FitOptions(criterion), Cache(8 << 30)
            took, ratios = [], []
            for _ in range(rounds):
                started = time.perf_counter()
                choice = ours(training, library, options, cache)
                took.append(time.perf_counter() - started)
                ratios.append(slowly(loop, training, library) / took[-1])
            assert choice[0] == loop(training[:1], library)[0]
            print(
                f"{kind + ': ' + criterion:44} {statistics.median(took) * 1e3:8.1f} ms"
                f" {statistics.median(ratios):9.1f}",
                flush=True,
            )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=FULL[:1])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="all sizes")
    args = parser.parse_args()
    if args.full:
        args.sizes = FULL
    original(args.rounds)
    variants(FULL[0], args.rounds)
    deviations(FULL[0], args.rounds)
    peers(args)


if __name__ == "__main__":
    main()
