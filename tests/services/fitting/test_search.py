"""Every way of a fit gives the answer of plain scores, to the bit."""

from dataclasses import replace
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.bounds.sketch import (
    make_basis,
    make_sketch,
)
from services.choices import Criterion, Sign, Transform
from services.errors import GridError, NoFit
from services.fitting.blocks import Block, Library
from services.fitting.cache import Cache
from services.fitting.fit import finish, rank_library
from services.fitting.prepare import PAIRS_SCORED_PLAINLY, prepare
from services.scoring.options import FitOptions
from services.scoring.ranking import choose_best, make_empty_ranking, merge
from services.scoring.training import score_plainly
from tests import factories
from tests.examples import combinations, examples
from tests.factories import a_library, a_training, fit_library, in_blocks
from tests.services.curves import draw_curves, some_basis

CRITERIA = get_args(Criterion)
TRANSFORMS = get_args(Transform)
SIGNS = get_args(Sign)


def rank_slowly(prepared, y):
    """Rank by the plain scores of all pairs, without bounds."""
    options, ranking = prepared.options, make_empty_ranking(len(prepared.names), len(y))
    for group in prepared.groups:
        scored = score_plainly(group, y, np.full(len(group.y), np.inf), options)
        chosen, place = choose_best(scored.rows, scored.score, scored.columns, len(y))
        rows, columns, _ = scored.select(chosen)
        figures = group.compute_figures(rows, y[columns], options)
        figures["ideal_index"] = columns
        ranking[group.positions[rows], place] = figures
    return ranking


def answer(training, library, options, rank):
    """Make matches of a ranking of the prepared fit, or return the words of its refusal."""
    try:
        prepared = prepare(training, np.arange(len(training.y)), library.x, options)
        return finish(prepared, rank(prepared))
    except (GridError, NoFit) as refusal:
        return str(refusal)


def answer_slowly(training, library, options):
    return answer(training, library, options, lambda prepared: rank_slowly(prepared, library.y))


def answer_fast(training, library, options, kept=None, cache=None, **sizes):
    """Answer with bounds alone: no pairs are few enough to be scored plainly."""

    def rank(prepared):
        prepared = replace(prepared, **{"pairs_scored_plainly": 0} | sizes)
        return rank_library(prepared, kept or Library(library.x, in_blocks(library)), cache)

    return answer(training, library, options, rank)


class KeptSketches:
    """Sketches of blocks, made when they are read."""

    def __init__(self, blocks, basis):
        self.basis = basis
        self._blocks = [block for block in blocks if len(block.indices)]
        self.places = [block.indices for block in self._blocks]

    def read(self, number):
        block = self._blocks[number]
        return make_sketch(block.indices, block.y, self.basis)


def keep_sketches(library, blocks, basis, read, key=""):
    """Make a library with sketches beside its blocks; `read` notes the rows that are read."""

    def rows(positions):
        assert list(positions) == sorted(set(positions))
        read.extend(positions)
        return np.take(library.y, positions, axis=0)

    cuts = [block.indices for block in blocks]
    return Library(library.x, blocks, key, KeptSketches(blocks, basis), rows, cuts)


def answer_every_way(training, library, blocks, options):
    """Answer by every way there is."""
    cache = Cache(1 << 24)
    yield answer_fast(training, library, options, Library(library.x, blocks))
    yield answer_fast(training, library, options, Library(library.x, iter(blocks)))
    for _ in range(2):
        kept = Library(library.x, blocks, key="k")
        yield answer_fast(training, library, options, kept, cache)
    for sort in ("learned", "random"):
        basis = some_basis(library.y, sort)
        if basis is not None:
            for key in ("", "s", "s"):
                kept = keep_sketches(library, blocks, basis, [], key + sort if key else "")
                yield answer_fast(training, library, options, kept, cache)


@st.composite
def draw_options(draw, problem):
    return FitOptions(
        criterion=draw(st.sampled_from(CRITERIA)),
        transform=draw(st.sampled_from(TRANSFORMS)),
        alignment=problem.alignment,
        x_tolerance=problem.x_tolerance,
        outside="omit",
        min_overlap=draw(st.sampled_from([1.0, 0.5, 1 / 3])),
        top_k=draw(st.sampled_from([1, 2, 3, 50])),
        sign=draw(st.sampled_from(SIGNS)),
    )


@given(factories.problems(), st.data())
@examples(60)
def test_proposing_changes_no_bit_of_any_answer(problem, data):
    options = data.draw(draw_options(problem))
    training, library = problem.training, problem.library
    blocks = in_blocks(library, data.draw(st.sets(st.integers(1, 6), max_size=3)))
    blocks = data.draw(st.permutations(blocks))
    expected = answer_slowly(training, library, options)
    for got in answer_every_way(training, library, blocks, options):
        assert repr(got) == repr(expected)


@given(draw_curves(), st.data())
@examples(80)
def test_larger_libraries_are_ranked_the_same_by_every_way(sides, data):
    y, f = sides
    gaps = data.draw(st.sampled_from([0, 0, 0, 0.001, 0.02]))
    random = np.random.default_rng(9)
    f[random.random(f.shape) < gaps] = np.nan
    holes = random.random(y.shape) < data.draw(st.sampled_from([0, 0, 0.1]))
    holes[:, 0] = False
    y[holes] = np.nan
    order = random.permutation(f.shape[1]) if data.draw(st.booleans()) else np.arange(f.shape[1])
    training = a_training(*np.ascontiguousarray(y[:, order]), x=order)
    library = a_library(*f, x=np.arange(f.shape[1]))
    options = FitOptions(
        data.draw(st.sampled_from(CRITERIA)),
        data.draw(st.sampled_from(TRANSFORMS)),
        min_overlap=data.draw(st.sampled_from([1.0, 0.9])),
        top_k=data.draw(st.sampled_from([1, 1, 2, 10])),
        sign=data.draw(st.sampled_from(SIGNS)),
    )
    blocks = in_blocks(library, data.draw(st.sets(st.integers(1, 150), max_size=3)))
    blocks = data.draw(st.permutations([block for block in blocks if len(block.indices)]))
    expected = answer_slowly(training, library, options)
    for got in answer_every_way(training, library, blocks, options):
        assert repr(got) == repr(expected)


def test_curves_read_at_some_x_may_have_no_score():
    """Between neighbouring floats a line may have no slope that float64 can hold."""
    up = 1 + 2.0**-52
    y, f = [up, None, up, up, 1, up, 1], [up, 9, 1, up, 1, up, 1]
    training, library = a_training(y), a_library(*[f] * 5000, [2 * (v or 3) for v in y])
    options = FitOptions(transform="affine")
    whole = Library(library.x, in_blocks(library))
    (match,) = fit_library(training, np.arange(1), whole, options)
    assert (match.ideal_index, match.scale) == (5000, 0.5)


@pytest.mark.parametrize(
    ("criterion", "transform", "lift"), combinations(CRITERIA, TRANSFORMS, [0.0, 1e6])
)
def test_many_training_curves_and_ties_are_ranked_the_same(criterion, transform, lift):
    random = np.random.default_rng(4)
    x = np.linspace(0, 6, 90)
    f = random.normal(size=(400, 5)) @ np.sin(np.outer(np.arange(1, 6), x)) + lift
    f[300:350] = f[100:150]
    y = np.concatenate([f[random.integers(0, 400, 30)], f[:4] + 1e-4])
    training, library = a_training(*y, x=x), a_library(*f, x=x)
    blocks = in_blocks(library, (150, 300))
    options = FitOptions(criterion, transform, top_k=2)
    expected = answer_slowly(training, library, options)
    for got in answer_every_way(training, library, blocks[::-1], options):
        assert got == expected
    # Too many curves to keep until the end.
    kept = Library(library.x, blocks)
    assert answer_fast(training, library, options, kept, kept_bytes=0) == expected


def test_a_sketch_spares_the_library():
    random = np.random.default_rng(4)
    x = np.linspace(0, 6, 200)
    f = random.normal(size=(5000, 6)) @ np.sin(np.outer(np.arange(1, 7), x))
    training = a_training(*(f[[7, 4000]] + random.normal(size=(2, 200)) * 0.01), x=x)
    library, read = a_library(*f, x=x), []
    kept = keep_sketches(library, in_blocks(library, (2500,)), make_basis(f), read)
    got = answer_fast(training, library, FitOptions(), kept)
    assert [match.ideal_index for match in got] == [7, 4000]
    assert len(read) < 20


@pytest.mark.parametrize(
    ("huge", "min_overlap", "criterion"), combinations([1e50, 1e200, 3e307], [1.0, 0.5], CRITERIA)
)
def test_gaps_and_curves_too_large_to_compare_are_ranked_the_same(huge, min_overlap, criterion):
    random = np.random.default_rng(6)
    y, f = random.normal(size=(4, 30)), random.normal(size=(60, 30))
    y[0, 3] = y[1, :9] = f[7, 3] = f[20:40:2, 5] = np.nan
    f[[0, 9, 30]] *= huge
    y[3] *= huge
    training, library = a_training(*y, x=np.arange(30)), a_library(*f, x=np.arange(30))
    for top_k in (1, 3, 100):
        options = FitOptions(criterion, min_overlap=min_overlap, top_k=top_k)
        expected = answer_slowly(training, library, options)
        for got in answer_every_way(training, library, in_blocks(library, (8, 20)), options):
            assert repr(got) == repr(expected)


def test_a_library_of_gaps_alone_is_refused_by_every_way():
    training = a_training([1, None, 2], [1, 2, 3])
    library = a_library(*[[None] * 3] * 4)
    expected = answer_slowly(training, library, FitOptions())
    assert "No library curve" in expected
    for got in answer_every_way(training, library, in_blocks(library), FitOptions()):
        assert got == expected


def test_a_library_that_gets_better_and_better_is_not_kept():
    training = a_training([0.0, 1.0, 0.0])
    library = a_library(*[[1.0 / (j + 1), 1.0, 0.0] for j in range(400)])
    kept = Library(library.x, in_blocks(library, range(1, 400)))
    (got,) = answer_fast(training, library, FitOptions(), kept)
    assert (got.ideal_index, got.sse) == (399, (1 / 400) ** 2)


def test_few_pairs_whose_expanded_squares_say_nothing_are_scored():
    # y·f - |f|²/2 is 5e11 for all of these; only the plain difference tells them apart.
    f = 1e6 + np.arange(40)[:, np.newaxis] * 2.0**-30 * np.ones(3)
    training, library = a_training(f[23]), a_library(*f)
    got = fit_library(training, np.arange(1), Library(library.x, in_blocks(library)), FitOptions())
    assert [(match.ideal_index, match.sse) for match in got] == [(23, 0)]


@example(size=PAIRS_SCORED_PLAINLY)
@given(size=st.integers(1, 50))
@examples(5)
def test_few_pairs_are_scored_one_and_all(size):
    training, library = a_training([0.0, 1.0]), a_library(*np.zeros((size, 2)))
    got = fit_library(training, np.arange(1), Library(library.x, in_blocks(library)), FitOptions())
    assert [match.ideal_index for match in got] == [0]


@given(st.data())
@examples(40)
def test_merging_is_associative_and_order_free(data):
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    training = a_training(*random.integers(0, 2, (2, 3)).astype(float))
    library = a_library(*random.integers(0, 2, (12, 3)).astype(float))
    top_k = data.draw(st.sampled_from([1, 2, 5, 20]))
    prepared = prepare(training, np.arange(2), library.x, FitOptions(top_k=top_k))

    def rank_block(block):
        return rank_library(prepared, Library(library.x, [block]))

    edges = [0, *sorted(data.draw(st.sets(st.integers(1, 11), min_size=2, max_size=2))), 12]
    parts = [rank_block(Block(np.arange(i, j), library.y[i:j])) for i, j in pairwise(edges)]
    places = prepared.options.places
    whole = merge(rank_block(*in_blocks(library)), make_empty_ranking(2, 0), places)
    a, b, c = data.draw(st.permutations(parts))

    def list_places(ranking):
        # The last place needs no figures, so only its curve and its score are the same.
        taken = [row[row["ideal_index"] < 12] for row in ranking]
        scores = [row[["ideal_index", "score"]].tolist() for row in taken]
        return [row[:top_k].tolist() for row in taken], scores

    one = merge(merge(a, b, places), c, places)
    other = merge(a, merge(b, c, places), places)
    assert repr(list_places(one)) == repr(list_places(other)) == repr(list_places(whole))
