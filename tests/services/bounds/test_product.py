"""No possible winner is left out, and the fast path gives the slow answer (docs/bounds.md)."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given, target
from hypothesis import strategies as st

from services.bounds import rounding
from services.bounds.expanded import propose_expanded
from services.bounds.gaps import make_gap_library_side, make_gap_side
from services.bounds.masks import make_mask_side
from services.bounds.product import (
    join_sides,
    make_complete_side,
    make_library_side,
    read_sketch,
)
from services.bounds.sieve import bound_by_few_numbers, bound_by_single_precision, sieve_pairs
from services.bounds.sketch import (
    Basis,
    Sketch,
    describe,
    make_basis,
    make_plain_basis,
    make_sketch,
)
from services.errors import GridError, NoFit
from services.fitting.blocks import Block, Library
from services.fitting.cache import Cache
from services.fitting.fit import finish, fit_library, rank_library
from services.fitting.prepare import PAIRS_SCORED_PLAINLY, prepare
from services.grids import align
from services.scoring.options import Criterion, FitOptions, Transform
from services.scoring.ranking import choose_best, empty_ranking, merge
from services.scoring.scores import score_pairs
from services.scoring.training import make_groups, score_plainly
from tests import factories
from tests.examples import examples
from tests.factories import a_library, a_training, in_blocks

CRITERIA = get_args(Criterion)

BORDERS = (
    np.array([[1.0 + 2.0**-24, 2.0**24 + 1.0], [2.0**-149, 0.0]]),
    np.array([[1.0, 2.0**24 + 2.0], [3 * 2.0**-150, 2.0**-126], [1.0 + 2.0**-25, 2.0**23 + 0.5]]),
)
"""Numbers halfway between two of single precision, and below its smallest."""
TRANSFORMS = get_args(Transform)


# --------------------------------------------------------------------------- the bounds


@st.composite
def curves(draw, kinds=("noise", "waves", "walk", "ticks")):
    """Training and library curves of one sort, of any size and lift, some nearly the same."""
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
    """Make a basis: all axes, one learned, or vectors that are none too orthonormal."""
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


QUESTIONS = st.builds(
    FitOptions,
    criterion=st.sampled_from(CRITERIA),
    transform=st.sampled_from(TRANSFORMS),
    min_overlap=st.sampled_from([1.0, 0.5]),
)


def in_two(f, basis, transform, dtype):
    """Columns of two blocks."""
    return join_sides([make_library_side(part, basis, transform, dtype) for part in (f[:2], f[2:])])


def likeness(training, library):
    """Likeness of every pair."""
    found = np.empty((len(training.matrix), library.n_curves), training.matrix.dtype)
    training.compare(library, slice(0, library.n_curves), found)
    return found


def margins(training, library, scores):
    """By how much each pair's likeness is above the floor of its own score; NaN if unknown."""
    alike = likeness(training, library)
    found = np.full(alike.shape, np.nan)
    for column in np.setdiff1d(np.arange(alike.shape[1]), library.unknown)[:30]:
        floor = training.find_floor(scores[:, column], library)
        with np.errstate(all="ignore"):
            found[:, column] = (alike[:, column] - floor) / (np.abs(floor) + 1e-30)
    return np.where(np.isfinite(scores) & np.isfinite(found), found, np.nan)


@given(curves(), st.sampled_from(BASES), QUESTIONS, st.booleans())
@examples(250)
def test_a_pair_whose_score_is_the_limit_is_never_left_out(sides, sort, options, double):
    y, f = sides
    basis = some_basis(f, sort)
    if basis is None:
        return
    dtype = np.float64 if double else np.float32
    training = make_complete_side(y, basis, options, dtype)
    libraries = [in_two(f, basis, options.transform, dtype)]
    if not double:
        made = make_sketch(np.arange(len(f)), f, basis)
        again = Sketch.from_bytes(made.indices, made.to_bytes(), basis.n_coordinates)
        libraries.append(read_sketch(again, basis, options.transform))
    scores = score_pairs(y, f, options)
    found = np.array([margins(training, library, scores) for library in libraries])
    found = found[~np.isnan(found)]
    assert (found >= 0).all()
    if found.size:
        # Hypothesis climbs towards a counterexample.
        target(-float(np.min(found)))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize(("dtype", "digits"), [(np.float32, 12.6), (np.float64, 26.9)])
@pytest.mark.parametrize("n", [16, 129, 1001, 5001])
def test_a_product_that_loses_all_points_but_two_leaves_nobody_out(n, dtype, digits, transform):
    # Added to 1 + 1, the squares of all other points are below half a unit in the last place.
    random = np.random.default_rng(n)
    y = random.choice([-1.0, 1.0], (1, n)) * 2.0**-digits
    y[0, :2] = 1, -1
    options = FitOptions(transform=transform)
    basis = make_plain_basis(y)
    training = make_complete_side(y, basis, options, dtype)
    library = make_library_side(y, basis, transform, dtype)
    assert not library.unknown.size
    assert (margins(training, library, np.zeros((1, 1))) >= 0).all()
    for min_overlap in (1.0, 0.5):
        options = FitOptions(min_overlap=min_overlap)
        training, library = (
            make_gap_side(y, basis, options),
            make_gap_library_side(y, basis, options),
        )
        assert likeness(training, library) >= training.find_floor(np.zeros(1), library)


@given(
    curves(),
    st.sampled_from(CRITERIA),
    st.sampled_from([1.0, 0.4]),
    st.sampled_from([0.0, 0.02, 0.3]),
    st.sampled_from([0.0, 0.02, 0.3]),
)
@examples(200)
def test_gaps_leave_out_no_pair_whose_score_is_the_limit(
    sides, criterion, min_overlap, training_gaps, library_gaps
):
    y, f = sides
    options = FitOptions(criterion, min_overlap=min_overlap)
    basis = make_plain_basis(f)
    if basis is None:
        return
    random = np.random.default_rng(8)
    y[random.random(y.shape) < training_gaps] = np.nan
    f[random.random(f.shape) < library_gaps] = np.nan
    training = make_gap_side(y, basis, options)
    parts = [make_gap_library_side(part, basis, options) for part in (f[:3], f[3:])]
    library = join_sides(parts)
    alike = likeness(training, library)
    for row, column in np.ndindex(alike.shape):
        needed, there = ~np.isnan(y[row]), ~np.isnan(y[row] + f[column])
        if there.sum() == 0 or there.sum() / needed.sum() < min_overlap:
            continue
        (score,) = score_pairs(y[row : row + 1, there], f[column : column + 1, there], options)[0]
        limits = np.full(len(y), score)
        if np.isfinite(score) and column not in library.unknown:
            assert alike[row, column] >= training.find_floor(limits, library)[row]


@given(
    curves(),
    st.sampled_from(["learned", "random", "skewed"]),
    st.sampled_from(CRITERIA),
    st.sampled_from([1.0, 0.4]),
    st.sampled_from(["none", "some", "many", "half"]),
)
@examples(250)
def test_masks_leave_out_no_pair_whose_score_is_the_limit(
    sides, sort, criterion, min_overlap, gaps
):
    y, f = sides
    basis = some_basis(f, sort)
    if basis is None or basis.vectors is None:
        return
    options = FitOptions(criterion, min_overlap=min_overlap)
    share = {"none": 0, "some": 0.02, "many": 0.3, "half": 0}[gaps]
    y[np.random.default_rng(8).random(y.shape) < share] = np.nan
    if gaps == "half":
        y[:, y.shape[1] // 2 :] = np.nan
    y = y[~np.isnan(y).all(axis=1)]
    training = make_mask_side(y, basis, options)
    library = in_two(f, basis, "none", np.float32)
    if training is None or not len(y):
        return
    product, worst = likeness(training, library), np.inf
    for row in range(len(y)):
        there = ~np.isnan(y[row])
        scores = score_pairs(y[row : row + 1, there], f[:, there].copy(), options)[0]
        for column in np.setdiff1d(np.arange(len(f)), library.unknown)[:40]:
            if np.isfinite(scores[column]):
                floor = training.find_floor(np.full(len(y), scores[column]), library)[row]
                assert product[row, column] >= floor
                worst = min(worst, (product[row, column] - floor) / (abs(floor) + 1e-30))
    if np.isfinite(worst):
        target(-float(worst))


@given(curves(), st.sampled_from([1.0, 0.5]))
@examples(100)
def test_few_pairs_are_not_left_out_either(sides, min_overlap):
    y, f = sides
    options = FitOptions(min_overlap=min_overlap)
    (group,) = make_groups(
        y, np.ones(y.shape, bool), align(np.arange(y.shape[1]), np.arange(y.shape[1])), y.shape[1]
    )
    scores = score_pairs(y, f, options)
    scores[~np.isfinite(scores)] = np.inf
    (rows, columns, found), figures = propose_expanded(group, f, np.full(len(y), np.inf), options)
    assert (found == scores[rows, columns]).all()
    for row in range(len(y)):
        assert scores[row].argmin() in columns[rows == row]
    if figures is not None:
        assert (figures["score"] == found).all()


@given(curves(), st.sampled_from(["mae", "max"]), st.sampled_from([1, 3]), st.booleans())
@examples(150)
def test_a_sieve_lets_all_of_the_best_through(sides, criterion, top_k, limited):
    y, f = sides
    options = FitOptions(criterion, top_k=top_k)
    (group,) = make_groups(
        y, np.ones(y.shape, bool), align(np.arange(y.shape[1]), np.arange(y.shape[1])), y.shape[1]
    )
    scores = np.where(np.isfinite(score_pairs(y, f, options)), score_pairs(y, f, options), np.inf)
    best = np.sort(scores, axis=1)[:, min(top_k, len(f)) - 1]
    rows, columns, found = sieve_pairs(
        group, f, best if limited else np.full(len(y), np.inf), options
    )
    expected = scores[rows, columns]
    assert (np.where(np.isfinite(found), found, np.inf) == expected).all()
    for row in range(len(y)):
        assert set(np.flatnonzero(scores[row] <= best[row])) <= set(columns[rows == row])


@given(curves(), st.sampled_from(["mae", "max"]))
@example(BORDERS, "max")
@examples(250)
def test_no_score_is_below_its_bounds(sides, criterion):
    y, f = sides
    options = FitOptions(criterion)
    scores, worst = score_pairs(y, f, options), np.inf
    with np.errstate(all="ignore"):
        for bound in (bound_by_few_numbers, bound_by_single_precision):
            least = np.array(list(bound(y, f, options)))
            assert least.shape == scores.shape
            known = np.isfinite(scores) & ~np.isnan(least)
            assert (least[known] <= scores[known]).all()
            # Scores of exactly zero have no rounding to be near to.
            some = known & (scores > 0)
            room = (scores[some] - least[some]) / scores[some]
            worst = min(worst, float(np.min(room, initial=1.0)))
    # Hypothesis climbs towards a counterexample.
    target(-worst)


def test_noise_is_told_apart_in_single_precision():
    random = np.random.default_rng(4)
    y, f = random.normal(size=(3, 400)) + 1e3, random.normal(size=(500, 400)) + 1e3
    for criterion in ("mae", "max"):
        options = FitOptions(criterion)
        scores = score_pairs(y, f, options)
        few, single = (
            np.array(list(bound(y, f, options)))
            for bound in (bound_by_few_numbers, bound_by_single_precision)
        )
        assert (few < 0.999 * scores).mean() > 0.8
        assert (single > 0.9999 * scores).all()


def test_few_pairs_whose_expanded_squares_say_nothing_are_scored():
    # y·f - |f|²/2 is 5e11 for all of these; only the plain difference tells them apart.
    f = 1e6 + np.arange(40)[:, np.newaxis] * 2.0**-30 * np.ones(3)
    training, library = a_training(f[23]), a_library(*f)
    got = fit_library(training, np.arange(1), Library(library.x, in_blocks(library)), FitOptions())
    assert [(match.ideal_index, match.sse) for match in got] == [(23, 0)]


@given(curves(), st.sampled_from([np.float32, np.float64]))
@examples(60)
def test_a_description_is_as_near_to_the_exact_one_as_it_says(sides, dtype):
    _, f = sides
    f = f[:5]
    basis = make_plain_basis(f)
    if basis is None:
        return
    coordinates = np.empty(f.shape, dtype)
    _, mean, size, error = describe(f, basis, coordinates)
    unit = Fraction(2) ** -basis.exponent
    for row in np.flatnonzero(np.isfinite(error)):
        exact = [Fraction(v) * unit for v in f[row].tolist()]
        centre = sum(exact) / len(exact)
        shape = [v - centre for v in exact]
        given_shape = [Fraction(v) for v in coordinates[row].tolist()]
        off = sum((a - b) ** 2 for a, b in zip(shape, given_shape, strict=True))
        off += len(exact) * (centre - Fraction(mean[row])) ** 2
        assert off <= Fraction(error[row]) ** 2
        length = math.sqrt(sum(v * v for v in given_shape))
        assert abs(length - size[row]) <= 4 * error[row]


@given(curves(), st.sampled_from(CRITERIA), st.sampled_from([1.0, 0.5]))
@examples(60)
def test_no_residual_with_a_score_is_longer_than_its_radius(sides, criterion, min_overlap):
    y, f = sides
    options = FitOptions(criterion, min_overlap=min_overlap)
    scores = score_pairs(y[:1], f[:5], options)[0]
    radius = rounding.radius(scores, f.shape[1], options)
    for row in np.flatnonzero(np.isfinite(radius)):
        r = [Fraction(a) - Fraction(b) for a, b in zip(y[0].tolist(), f[row].tolist(), strict=True)]
        assert sum(v * v for v in r) <= Fraction(radius[row]) ** 2


def test_curves_with_gaps_and_overflow_are_unknown_and_said_so():
    f = np.ones((70, 80)) * np.arange(80) * 1e-3
    f[3, 5], f[7, 1] = np.nan, 1e300
    basis = make_plain_basis(f)
    made = make_sketch(np.arange(70), f, basis)
    assert np.isnan(made.mean[3])
    assert np.isinf(made.mean[7])
    assert list(read_sketch(made, basis, "none").unknown) == [3, 7]


def test_a_basis_is_not_made_where_it_would_not_help():
    random = np.random.default_rng(0)
    assert make_basis(random.normal(size=(300, 200))) is None
    assert make_basis(np.sin(np.arange(200))[np.newaxis]) is None
    assert make_basis(random.normal(size=(300, 20))) is None
    assert make_basis(np.full((300, 200), np.nan)) is None
    assert make_plain_basis(np.zeros((2, 3))) is not None


def test_vectors_that_are_not_orthonormal_bound_nothing():
    assert Basis(3, 0, 0.0, np.ones((3, 2))).slack == math.inf


# --------------------------------------------------------------------------- the answers


def rank_slowly(prepared, y):
    """Rank by the plain scores of all pairs; nothing proposes."""
    options, ranking = prepared.options, empty_ranking(len(prepared.names), len(y))
    for group in prepared.groups:
        scored = score_plainly(group, y, np.full(len(group.y), np.inf), options)
        chosen, place = choose_best(scored.rows, scored.score, scored.columns, options.top_k)
        rows, columns, _ = scored.select(chosen)
        figures = group.compute_figures(rows, y[columns], options)
        figures["ideal_index"] = columns
        ranking[group.positions[rows], place] = figures
    return ranking


def answer(training, library, options, rank):
    """Matches of a ranking of the prepared fit, or the words of its refusal."""
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


def sketched(library, blocks, basis, read):
    """Library that keeps sketches beside its blocks; `read` notes which rows are read."""

    def rows(positions):
        assert list(positions) == sorted(set(positions))
        read.extend(positions)
        return np.take(library.y, positions, axis=0)

    pieces = [make_sketch(block.indices, block.y, basis) for block in blocks]
    return Library(library.x, blocks, basis=basis, sketches=pieces, rows=rows)


def every_way(training, library, blocks, options):
    """Answers of all ways to go about a fit."""
    cache = Cache(1 << 24)
    yield answer_fast(training, library, options, Library(library.x, blocks))
    yield answer_fast(training, library, options, Library(library.x, iter(blocks)))
    for _ in range(2):
        kept = Library(library.x, blocks, key="k")
        yield answer_fast(training, library, options, kept, cache)
    for sort in ("learned", "random"):
        basis = some_basis(library.y, sort)
        if basis is not None:
            kept = sketched(library, blocks, basis, [])
            yield answer_fast(training, library, options, kept)


@st.composite
def options_for_all(draw, problem):
    return FitOptions(
        criterion=draw(st.sampled_from(CRITERIA)),
        transform=draw(st.sampled_from(TRANSFORMS)),
        alignment=problem.alignment,
        x_tolerance=problem.x_tolerance,
        outside="omit",
        min_overlap=draw(st.sampled_from([1.0, 0.5, 1 / 3])),
        top_k=draw(st.sampled_from([1, 2, 3, 50])),
    )


@given(factories.problems(), st.data())
@examples(60)
def test_proposing_changes_no_bit_of_any_answer(problem, data):
    options = data.draw(options_for_all(problem))
    training, library = problem.training, problem.library
    blocks = in_blocks(library, data.draw(st.sets(st.integers(1, 6), max_size=3)))
    blocks = data.draw(st.permutations(blocks))
    expected = answer_slowly(training, library, options)
    for got in every_way(training, library, blocks, options):
        assert repr(got) == repr(expected)


@given(curves(), st.data())
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
    )
    blocks = in_blocks(library, data.draw(st.sets(st.integers(1, 150), max_size=3)))
    blocks = data.draw(st.permutations([block for block in blocks if len(block.indices)]))
    expected = answer_slowly(training, library, options)
    for got in every_way(training, library, blocks, options):
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


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("lift", [0.0, 1e6])
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
    for got in every_way(training, library, blocks[::-1], options):
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
    kept = sketched(library, in_blocks(library, (2500,)), make_basis(f), read)
    got = answer_fast(training, library, FitOptions(), kept)
    assert [match.ideal_index for match in got] == [7, 4000]
    assert len(read) < 20


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("min_overlap", [1.0, 0.5])
@pytest.mark.parametrize("huge", [1e50, 1e200, 3e307])
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
        for got in every_way(training, library, in_blocks(library, (8, 20)), options):
            assert repr(got) == repr(expected)


def test_a_library_of_gaps_alone_is_refused_by_every_way():
    training = a_training([1, None, 2], [1, 2, 3])
    library = a_library(*[[None] * 3] * 4)
    expected = answer_slowly(training, library, FitOptions())
    assert "No library curve" in expected
    for got in every_way(training, library, in_blocks(library), FitOptions()):
        assert got == expected


def test_a_library_that_gets_better_and_better_is_not_kept():
    training = a_training([0.0, 1.0, 0.0])
    library = a_library(*[[1.0 / (j + 1), 1.0, 0.0] for j in range(400)])
    kept = Library(library.x, in_blocks(library, range(1, 400)))
    (got,) = answer_fast(training, library, FitOptions(), kept)
    assert (got.ideal_index, got.sse) == (399, (1 / 400) ** 2)


# --------------------------------------------------------------------------- pieces


@given(st.data())
@examples(40)
def test_merging_is_associative_and_order_free(data):
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    training = a_training(*random.integers(0, 2, (2, 3)).astype(float))
    library = a_library(*random.integers(0, 2, (12, 3)).astype(float))
    top_k = data.draw(st.sampled_from([1, 2, 5, 20]))
    prepared = prepare(training, np.arange(2), library.x, FitOptions(top_k=top_k))

    def block_ranked(block):
        return rank_library(prepared, Library(library.x, [block]))

    edges = [0, *sorted(data.draw(st.sets(st.integers(1, 11), min_size=2, max_size=2))), 12]
    parts = [block_ranked(Block(np.arange(i, j), library.y[i:j])) for i, j in pairwise(edges)]
    whole = merge(block_ranked(*in_blocks(library)), empty_ranking(2, 0), top_k)
    a, b, c = data.draw(st.permutations(parts))

    def filled(ranking):
        return [list(row[row["ideal_index"] < 12].tolist()) for row in ranking]

    one = merge(merge(a, b, top_k), c, top_k)
    other = merge(a, merge(b, c, top_k), top_k)
    assert repr(filled(one)) == repr(filled(other)) == repr(filled(whole))


def test_a_cache_forgets_the_least_recently_used_and_stays_within_its_bound():
    cache = Cache(10)
    cache.keep(("a",), 1, 4)
    cache.keep(("b",), 2, 4)
    assert cache.get(("a",)) == 1
    cache.keep(("c",), 3, 4)
    assert (cache.get(("a",)), cache.get(("b",)), cache.get(("c",))) == (1, None, 3)
    assert cache.keep(("a",), 9, 4) == 1
    assert cache.keep(("d",), 4, 11) == 4
    assert cache.get(("d",)) is None
    assert cache.nbytes == 8


def test_parts_of_a_library_larger_than_the_cache_do_not_push_each_other_out():
    cache = Cache(10)
    cache.keep(("other", 0), 0, 3)
    for part in range(5):
        cache.keep(("library", part), part, 4)
    assert [cache.get(("library", part)) for part in range(5)] == [0, 1, None, None, None]
    assert cache.get(("other", 0)) is None
    assert cache.keep(("new", 0), 7, 5) == 7
    assert cache.nbytes == 9


@example(size=PAIRS_SCORED_PLAINLY)
@given(size=st.integers(1, 50))
@examples(5)
def test_few_pairs_are_scored_one_and_all(size):
    training, library = a_training([0.0, 1.0]), a_library(*np.zeros((size, 2)))
    got = fit_library(training, np.arange(1), Library(library.x, in_blocks(library)), FitOptions())
    assert [match.ideal_index for match in got] == [0]
