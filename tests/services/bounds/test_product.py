"""Bounds leave out no pair that could be among the best (docs/bounds.md)."""

import math
from fractions import Fraction
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
from services.choices import Criterion, Sign, Transform
from services.grids import align
from services.scoring.options import FitOptions
from services.scoring.scores import score_pairs
from services.scoring.training import make_groups
from tests.examples import examples
from tests.services.curves import BASES, draw_curves, some_basis

CRITERIA = get_args(Criterion)
TRANSFORMS = get_args(Transform)

BORDERS = (
    np.array([[1.0 + 2.0**-24, 2.0**24 + 1.0], [2.0**-149, 0.0]]),
    np.array([[1.0, 2.0**24 + 2.0], [3 * 2.0**-150, 2.0**-126], [1.0 + 2.0**-25, 2.0**23 + 0.5]]),
)
"""Numbers halfway between two of single precision, and below its smallest."""


QUESTIONS = st.builds(
    FitOptions,
    criterion=st.sampled_from(CRITERIA),
    transform=st.sampled_from(TRANSFORMS),
    min_overlap=st.sampled_from([1.0, 0.5]),
    sign=st.sampled_from(get_args(Sign)),
)


def describe_in_two(f, basis, transform, dtype):
    """Make the library side of two blocks."""
    return join_sides([make_library_side(part, basis, transform, dtype) for part in (f[:2], f[2:])])


def compute_likeness(training, library):
    """Compute the likeness of every pair."""
    found = np.empty((len(training.matrix), library.n_curves), training.matrix.dtype)
    training.compare(library, slice(0, library.n_curves), found)
    return found


def compute_margins(training, library, scores):
    """Compute how far the likeness of each pair is above the floor of its score; NaN if unknown."""
    alike = compute_likeness(training, library)
    found = np.full(alike.shape, np.nan)
    for column in np.setdiff1d(np.arange(alike.shape[1]), library.unknown)[:30]:
        floor = training.find_floor(scores[:, column], library)
        with np.errstate(all="ignore"):
            found[:, column] = (alike[:, column] - floor) / (np.abs(floor) + 1e-30)
    return np.where(np.isfinite(scores) & np.isfinite(found), found, np.nan)


@given(draw_curves(), st.sampled_from(BASES), QUESTIONS, st.booleans())
@examples(250)
def test_a_pair_whose_score_is_the_limit_is_never_left_out(sides, sort, options, double):
    y, f = sides
    basis = some_basis(f, sort)
    if basis is None:
        return
    dtype = np.float64 if double else np.float32
    training = make_complete_side(y, basis, options, dtype)
    libraries = [describe_in_two(f, basis, options.transform, dtype)]
    if not double:
        made = make_sketch(np.arange(len(f)), f, basis)
        again = Sketch.from_bytes(made.indices, made.to_bytes(), basis.n_coordinates)
        libraries.append(read_sketch(again, basis, options.transform))
    scores = score_pairs(y, f, options)
    found = np.array([compute_margins(training, library, scores) for library in libraries])
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
    assert (compute_margins(training, library, np.zeros((1, 1))) >= 0).all()
    for min_overlap in (1.0, 0.5):
        options = FitOptions(min_overlap=min_overlap)
        training, library = (
            make_gap_side(y, basis, options),
            make_gap_library_side(y, basis, options),
        )
        assert compute_likeness(training, library) >= training.find_floor(np.zeros(1), library)


@given(
    draw_curves(),
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
    alike = compute_likeness(training, library)
    for row, column in np.ndindex(alike.shape):
        needed, there = ~np.isnan(y[row]), ~np.isnan(y[row] + f[column])
        if there.sum() == 0 or there.sum() / needed.sum() < min_overlap:
            continue
        (score,) = score_pairs(y[row : row + 1, there], f[column : column + 1, there], options)[0]
        limits = np.full(len(y), score)
        if np.isfinite(score) and column not in library.unknown:
            assert alike[row, column] >= training.find_floor(limits, library)[row]


@given(
    draw_curves(),
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
    library = describe_in_two(f, basis, "none", np.float32)
    if training is None or not len(y):
        return
    product, worst = compute_likeness(training, library), np.inf
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


@given(draw_curves(), st.sampled_from([1.0, 0.5]))
@examples(100)
def test_few_pairs_are_not_left_out_either(sides, min_overlap):
    y, f = sides
    options = FitOptions(min_overlap=min_overlap)
    (group,) = make_groups(
        y, np.ones(y.shape, bool), align(np.arange(y.shape[1]), np.arange(y.shape[1])), y.shape[1]
    )
    scores = score_pairs(y, f, options)
    scores[~np.isfinite(scores)] = np.inf
    rows, columns, found = propose_expanded(group, f, np.full(len(y), np.inf), options)
    assert (found == scores[rows, columns]).all()
    for row in range(len(y)):
        assert scores[row].argmin() in columns[rows == row]


@given(draw_curves(), st.sampled_from(["mae", "max"]), st.sampled_from([1, 3]), st.booleans())
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


@given(draw_curves(), st.sampled_from(["mae", "max"]))
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


@given(draw_curves(), st.sampled_from([np.float32, np.float64]))
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


@given(draw_curves(), st.sampled_from(CRITERIA), st.sampled_from([1.0, 0.5]))
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
