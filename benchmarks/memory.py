"""Fits of curves in memory, beside exact nearest-neighbour libraries, in one run.

This times `services.fitting` on arrays of one process, without HTTP, SQL or storage;
`python -m benchmarks fits` times whole requests of a user.

    python -m benchmarks memory                # 4 x 50 and 100 x 20 000 curves, a minute
    python -m benchmarks memory --sizes 1000x100000x400 100x1000000x256     # 10 GB

It prints four tables: fits beside peers; 4 x 50 curves, the size of the original script, beside its
loop; the extra cost of offset, scale, affine, gaps and ten matches over a plain fit; mae and max
beside the loop.

Every round runs every contender once; ratios are of the same round, above 1 ours is faster. `cold`
starts from float64 blocks with nothing prepared; `warm` uses the cache that an earlier fit of other
curves filled. All contenders have one thread.
"""

from __future__ import annotations

from benchmarks import peers  # isort: skip - it sets threads before NumPy is loaded

import argparse
import functools
import itertools
import time
from collections.abc import Callable

import numpy as np

from benchmarks.problems import KINDS, MEANING, make_library, make_training, squares
from benchmarks.tables import MEMORY, alternate, milliseconds, ratios, seconds, spread
from benchmarks.tables import Table as TextTable
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

SLICE = 4_000_000
"""Differences that a slow contender is given; its time is scaled to the whole."""


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


def compare(size: str, kind: str, rounds: int, table: TextTable) -> None:
    """Print a row for each contender on one problem."""
    training, library = a_problem(kind, size)
    warm, options = Cache(8 << 30), FitOptions()
    # The cache is filled by a fit of other curves.
    ours(training[::-1] + 0.5, library, options, warm)
    searches = {
        name: functools.partial(find, training) for name, find in peers.find_peers(library).items()
    }
    found: dict[str, Search] = {
        "Idealfit, warm": lambda: ours(training, library, options, warm),
        "Idealfit, cold": lambda: ours(training, library, options, None),
        **searches,
    }
    times = alternate(found, rounds)
    choices = {name: search() for name, search in found.items()}
    scores = {name: squares(training, library[chosen]) for name, chosen in choices.items()}
    least = functools.reduce(np.minimum, scores.values())
    for name, took in times.items():
        beside = spread(ratios(took, times["Idealfit, warm"]))
        wrong = int(np.sum(scores[name] > least))
        table.row(
            f"{size.replace('x', ' × ')}, {MEANING[kind]}", name, milliseconds(took), beside, wrong
        )


def a_problem(kind: str, size: str) -> tuple[FloatArray, FloatArray]:
    """Make training curves and a library."""
    k, m, n = map(int, size.split("x"))
    library = make_library(kind, m, n)
    return make_training(kind, library, k, 0), library


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
    training, library = a_problem("smooth", "4x50x400")
    grid, first, blocks = np.arange(400.0), np.arange(4), [Block(np.arange(50), library)]
    table, options = Table(grid, training, ("y1", "y2", "y3", "y4")), FitOptions()
    plain = Library(grid, blocks)
    (group,) = prepare(table, first, grid, options).groups
    limits = np.full(4, np.inf)
    times = alternate(
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
    note = f"Nothing is cached; {40 * rounds} rounds."
    printed = TextTable(
        "4 × 50 curves of 400 points", MEMORY, note, ["contender", "ms", "loop / it"]
    )
    for name, took in times.items():
        printed.row(name, milliseconds(took), spread(ratios(times["plain loop, chooses"], took), 1))
    printed.end()


def variants(size: str, rounds: int) -> None:
    """Print the extra cost of options over a plain fit, warm, on one thread."""
    title = f"Options, {size.replace('x', ' × ')}"
    printed = TextTable(title, MEMORY, f"Warm, {rounds} rounds.", ["case", "ms", "it / plain fit"])
    for kind in ("smooth", "near", "unrelated"):
        training, library = a_problem(kind, size)
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
        times = alternate(work, rounds)
        for name, took in times.items():
            cells = milliseconds(took), spread(ratios(took, times["plain"]))
            printed.row(f"{MEANING[kind]}: {name}", *cells)
    printed.end()


def deviations(size: str, rounds: int) -> None:
    """Compare the mae and max criteria with the plain loop, on one thread."""
    title = f"mae and max, {size.replace('x', ' × ')}"
    note = f"Warm, {rounds} rounds; the loop runs on a slice and is scaled."
    printed = TextTable(title, MEMORY, note, ["case", "ms", "loop / it"])
    for kind in ("smooth", "near"):
        training, library = a_problem(kind, size)
        criteria: tuple[tuple[Criterion, Callable[[FloatArray], FloatArray]], ...] = (
            ("mae", lambda r: np.sum(np.abs(r)) / r.size),
            ("max", lambda r: np.max(np.abs(r))),
        )
        for criterion, measure in criteria:
            loop = functools.partial(plain_loop, measure=measure)
            options, cache = FitOptions(criterion), Cache(8 << 30)
            took, beside = [], []
            for _ in range(rounds):
                took.append(seconds(lambda: ours(training, library, options, cache)))  # noqa: B023
                beside.append(slowly(loop, training, library) / took[-1])
            printed.row(f"{MEANING[kind]}: {criterion}", milliseconds(took), spread(beside, 1))
    printed.end()


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks memory",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--sizes", nargs="+", default=["100x20000x400"])
    kinds = ["smooth", "near", "unrelated"]
    parser.add_argument("--kinds", nargs="+", default=kinds, choices=list(KINDS))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(arguments)
    columns = ["case", "contender", "ms", "it / Idealfit, warm", "wrong"]
    table = TextTable("Fits in memory", MEMORY, f"One thread, {args.rounds} rounds.", columns)
    for size, kind in itertools.product(args.sizes, args.kinds):
        compare(size, kind, args.rounds, table)
    table.end()
    original(args.rounds)
    variants(args.sizes[0], args.rounds)
    deviations(args.sizes[0], args.rounds)


if __name__ == "__main__":
    main()
