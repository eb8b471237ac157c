"""Which library curves fit a training curve (docs/method.md, "Pair" to "Ranking")."""

import math
from dataclasses import replace
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from services.choices import Criterion, Sign, Transform
from services.errors import GridError, InvalidOption, NoFit
from services.fitting import fit
from services.scoring.options import FitOptions
from tests import factories, naive
from tests.examples import examples
from tests.factories import (
    a_library,
    a_seed_like_problem,
    a_training,
    fit_blocks,
    in_blocks,
    rows_in_order,
)

CRITERIA = get_args(Criterion)
TRANSFORMS = get_args(Transform)


def fit_all(training, library, *, cuts=(), indices=None, **options):
    """Fit and return the matches of all training curves."""
    return fit_blocks(
        training,
        np.arange(len(training.y)),
        library.x,
        in_blocks(library, cuts, indices),
        FitOptions(**options),
    )


def choose(training, library, **options):
    """Fit and return the positions of the library curves, by training curve, then rank."""
    return [match.ideal_index for match in fit_all(training, library, **options)]


def fit_one(training, library, **options):
    """Fit and return the only match."""
    (match,) = fit_all(training, library, **options)
    return match


def collect_words(error):
    """Collect all the words of a refusal."""
    parts = [error.detail]
    for fact in error.facts:
        parts += [fact.detail, str(fact.column)]
    return " ".join(parts)


# --------------------------------------------------------------------------- Pair


def test_pairs_are_made_by_x_and_not_by_row():
    training = a_training([30, 10, 20], x=[3, 1, 2])
    library = a_library([10, 20, 30], [30, 10, 20], x=[1, 2, 3])
    assert choose(training, library) == [0]
    assert fit_one(training, library).sse == 0


def test_descending_x_are_no_matter():
    training = a_training([1, 2, 4])
    library = a_library([4, 2, 1], [1, 2, 4], x=[2, 1, 0])
    assert choose(training, library) == [0]


def test_a_training_grid_may_be_a_part_of_the_library_grid():
    match = fit_one(a_training([5, 9], x=[2, 0]), a_library([9, None, 5], [0, 0, 0]))
    assert (match.ideal_index, match.sse, match.n) == (0, 0, 2)


def test_x_within_the_default_tolerance_are_the_same():
    library = a_library([1, 2, 3])
    assert fit_one(a_training([2], x=[1 + 0.9e-6]), library).n == 1
    with pytest.raises(GridError):
        fit_all(a_training([2], x=[1 + 1.1e-6]), library)


def test_two_training_x_may_find_the_same_grid_value():
    match = fit_one(a_training([2, 4], x=[0.9, 1.1]), a_library([0, 3, 0]), x_tolerance=0.2)
    assert (match.n, match.sse) == (2, 2)


def test_linear_alignment_reads_between_the_grid_values():
    match = fit_one(a_training([15, 20], x=[0.5, 1]), a_library([10, 20]), alignment="linear")
    assert (match.n, match.sse) == (2, 0)


def test_linear_alignment_refuses_an_x_tolerance():
    with pytest.raises(InvalidOption):
        fit_all(a_training([1]), a_library([1]), alignment="linear", x_tolerance=0.1)


@pytest.mark.parametrize("x", [[0, 1, 0], [0.0, 1, -0.0], [0, 1, None]])
@pytest.mark.parametrize("alignment", ["exact", "linear"])
def test_no_grid_is_refused_as_training_and_as_library_with_its_row(x, alignment):
    fine, bad = [0, 1, 2], x
    for training_x, library_x, role in ((bad, fine, "training"), (fine, bad, "library")):
        training, library = a_training([1, 2, 3], x=training_x), a_library([1, 2, 3], x=library_x)
        with pytest.raises(GridError) as refusal:
            fit_all(training, library, alignment=alignment)
        assert 2 in {fact.row for fact in refusal.value.facts}
        assert role in refusal.value.detail


# --- x that the library does not cover


def test_training_x_outside_the_library_are_refused_and_named():
    training = a_training([1, 2, 3, 4], x=[0, 7.25, 1, 8.5])
    with pytest.raises(GridError) as refusal:
        fit_all(training, a_library([1, 2]))
    assert [fact.row for fact in refusal.value.facts] == [1, 3]
    assert "7.25" in collect_words(refusal.value)
    assert "float64" not in collect_words(refusal.value)


def test_only_the_first_few_x_outside_are_named():
    with pytest.raises(GridError) as refusal:
        fit_all(a_training([0] * 1000), a_library([1]))
    assert 1 <= len(refusal.value.facts) <= 20
    assert refusal.value.facts[0].row == 1


def test_training_x_outside_the_library_can_be_left_out():
    training = a_training([1, 99, 2], x=[0, 7, 1])
    match = fit_one(training, a_library([1, 2]), outside="omit")
    assert (match.n, match.sse) == (2, 0)


def test_x_left_out_does_not_count_for_the_overlap():
    training = a_training([1, 9, 9, 9], x=[0, 7, 8, 9])
    assert fit_one(training, a_library([1, 2]), outside="omit", min_overlap=1.0).n == 1


def test_nothing_left_when_all_x_are_outside_names_the_training_curve():
    training = a_training([1, 2], x=[7, 8], names=["lonely"])
    with pytest.raises(NoFit) as refusal:
        fit_all(training, a_library([1, 2]), outside="omit")
    assert "lonely" in collect_words(refusal.value)


def test_a_row_without_any_training_number_makes_no_pair_to_refuse():
    training = a_training([1, 2, None], x=[0, 1, 7])
    assert fit_one(training, a_library([1, 2])).n == 2


def test_an_x_outside_that_one_of_two_curves_has_is_refused():
    training = a_training([1, 2, None], [1, 2, 3], x=[0, 1, 7])
    with pytest.raises(GridError):
        fit_all(training, a_library([1, 2]))


# --------------------------------------------------------------------------- Gaps


def test_a_training_gap_makes_no_pair_for_any_library_curve():
    training = a_training([1, None, 3])
    matches = fit_all(training, a_library([1, 50, 3], [1, None, 4]), top_k=2)
    assert [(m.ideal_index, m.n, m.sse) for m in matches] == [(0, 2, 0), (1, 2, 1)]


def test_a_library_gap_at_a_needed_x_makes_the_curve_ineligible():
    training = a_training([1, 2, 3])
    assert choose(training, a_library([1, None, 3], [9, 9, 9]), top_k=5) == [1]


def test_a_library_gap_at_an_x_that_is_not_needed_is_no_matter():
    assert choose(a_training([1, 3], x=[0, 2]), a_library([1, None, 3])) == [0]


def test_a_gap_in_a_needed_neighbour_makes_the_curve_ineligible():
    training = a_training([1.5], x=[0.5])
    library = a_library([1, 2, None], [1, None, 3], [None, 2, 3], [8, 8, 8])
    assert choose(training, library, alignment="linear", top_k=9) == [0, 3]


def test_min_overlap_admits_curves_with_gaps():
    training = a_training([1, 2, 3, 4])
    library = a_library([1, None, None, 4], [1, 2, None, 4])
    assert choose(training, library, min_overlap=0.75, top_k=9) == [1]
    assert choose(training, library, min_overlap=0.5, top_k=9) == [0, 1]


@pytest.mark.parametrize(
    ("n", "whole", "min_overlap", "fits"),
    [
        (7, 10, 0.7, True),
        (7, 10, math.nextafter(0.7, 1), False),
        # 0.07 * 100 is 7.000000000000001 in float64, and 7 / 100 is 0.07.
        (7, 100, 0.07, True),
        (1, 3, 1 / 3, True),
        (1, 3, math.nextafter(1 / 3, 1), False),
        (29, 100, 0.29, True),
        (9, 10, math.nextafter(1, 0), False),
        (10, 10, math.nextafter(1, 0), True),
        (1, 100, 5e-324, True),
    ],
)
def test_the_border_of_min_overlap_is_the_quotient_in_float64(n, whole, min_overlap, fits):
    training = a_training([1.0] * whole)
    library = a_library([1.0] * n + [None] * (whole - n), [5.0] * whole)
    assert (0 in choose(training, library, min_overlap=min_overlap, top_k=2)) is fits


def test_the_whole_counts_the_training_numbers_at_covered_x():
    training = a_training([1, 2, None, None, 9], x=[0, 1, 2, 3, 77])
    library = a_library([1, None, 3, 4])
    assert fit_one(training, library, min_overlap=0.5, outside="omit").n == 1
    with pytest.raises(NoFit):
        fit_all(training, library, min_overlap=0.51, outside="omit")


def test_with_min_overlap_the_score_is_the_mean_square():
    training = a_training([0, 0, 0, 0])
    # Fewer pairs are no advantage: 2 squares of 4 lose to 4 squares of 3.
    library = a_library([2, 2, None, None], [math.sqrt(3)] * 4)
    first, second = fit_all(training, library, min_overlap=0.5, top_k=2)
    assert (first.ideal_index, second.ideal_index) == (1, 0)
    assert (second.score, second.sse, second.n, second.rmse) == (4, 8, 2, 2)
    assert first.score == first.sse / 4


def test_with_min_overlap_complete_curves_are_scored_by_the_mean_as_well():
    match = fit_one(a_training([1, 2]), a_library([2, 3]), min_overlap=0.9)
    assert (match.score, match.sse) == (1, 2)


@pytest.mark.parametrize("criterion", ["mae", "max"])
def test_mae_and_max_are_as_they_are_with_min_overlap(criterion):
    match = fit_one(
        a_training([1, 2, 3]), a_library([2, 5, None]), criterion=criterion, min_overlap=0.5
    )
    assert match.score == {"mae": 2, "max": 3}[criterion]


def test_a_training_curve_of_gaps_is_refused_and_named():
    training = a_training([1, 2], [None, None], names=["full", "hollow"])
    with pytest.raises(NoFit) as refusal:
        fit_all(training, a_library([1, 2]))
    assert "hollow" in collect_words(refusal.value)
    assert "full" not in collect_words(refusal.value)


def test_a_training_curve_without_an_eligible_curve_is_refused_and_named():
    training = a_training([1, None], [1, 2], names=["easy", "needy"])
    with pytest.raises(NoFit) as refusal:
        fit_all(training, a_library([1, None], [5, None]))
    assert "needy" in collect_words(refusal.value)
    assert "easy" not in collect_words(refusal.value)


def test_min_overlap_never_admits_a_curve_without_any_pair():
    with pytest.raises(NoFit):
        fit_all(a_training([1, None]), a_library([None, 2]), min_overlap=5e-324)


@pytest.mark.parametrize("min_overlap", [0.0, -0.5, 1.5, math.nan, math.inf])
def test_min_overlap_is_above_0_and_at_most_1(min_overlap):
    with pytest.raises(InvalidOption):
        fit_all(a_training([1]), a_library([1]), min_overlap=min_overlap)


# --------------------------------------------------------------------------- Transform


def test_without_a_transform_the_curve_stands_for_itself():
    match = fit_one(a_training([1, 2]), a_library([3, 5]))
    assert (match.scale, match.offset, match.sse) == (1, 0, 13)


def test_offset_adds_the_mean_difference():
    match = fit_one(a_training([1, 2, 6]), a_library([0, 0, 0]), transform="offset")
    assert (match.scale, match.offset, match.sse) == (1, 3, 14)


def test_scale_multiplies_by_least_squares():
    match = fit_one(a_training([2, 1]), a_library([1, 2]), transform="scale")
    assert (match.scale, match.offset) == (0.8, 0)


def test_scale_of_a_curve_of_zeros_is_zero():
    match = fit_one(a_training([2, 1]), a_library([0.0, -0.0]), transform="scale")
    assert (match.scale, match.offset, match.sse) == (0, 0, 5)


def test_affine_is_the_straight_line_through_the_pairs():
    match = fit_one(a_training([7, 9, 11, 13]), a_library([0, 1, 2, 3]), transform="affine")
    assert (match.scale, match.offset, match.sse) == (2, 7, 0)


def test_affine_of_a_constant_library_curve_is_the_mean():
    match = fit_one(a_training([1, 2, 6]), a_library([4, 4, 4]), transform="affine")
    assert (match.scale, match.offset, match.sse) == (0, 3, 14)


def test_affine_of_two_constant_curves_is_exact():
    # The mean of three 0.1 is 0.10000000000000002 in float64.
    match = fit_one(a_training([0.1] * 3), a_library([7.7] * 3), transform="affine")
    assert (match.scale, match.offset, match.sse) == (0, 0.1, 0)


def test_affine_of_one_pair_is_its_y():
    match = fit_one(a_training([0.3], x=[1]), a_library([5, 6]), transform="affine")
    assert (match.scale, match.offset, match.sse) == (0, 0.3, 0)


def test_a_transform_sees_only_the_pairs():
    training = a_training([7, None, 11, 99], x=[0, 1, 2, 9])
    library = a_library([0, 55, 2, None])
    match = fit_one(training, library, transform="affine", outside="omit")
    assert (match.scale, match.offset, match.n) == (2, 7, 2)


def test_constant_is_judged_by_the_pairs_alone():
    match = fit_one(a_training([1, None, 3]), a_library([4, 5, 4]), transform="affine")
    assert (match.scale, match.offset) == (0, 2)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_family_is_always_chosen_by_least_squares(criterion):
    match = fit_one(
        a_training([0, 0, 3]), a_library([0, 0, 0]), transform="offset", criterion=criterion
    )
    assert match.offset == 1
    assert match.score == {"sse": 6, "mae": 4 / 3, "max": 2}[criterion]


@pytest.mark.parametrize("power", [-1060, -600, -300, 300, 600, 1000])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_powers_of_two_do_not_harm_the_transform(transform, power):
    y, f = np.array([3.0, 1.0, 2.0, 7.0]), np.array([1.0, -2.0, 5.0, 4.0])
    plain = fit_one(a_training(y), a_library(f), transform=transform)
    unit = 2.0**power
    big = fit_one(a_training(y * unit), a_library(f * unit), transform=transform, criterion="max")
    assert big.scale == pytest.approx(plain.scale, rel=1e-14)
    assert big.offset == pytest.approx(plain.offset * unit, rel=1e-13, abs=5e-324)


@pytest.mark.parametrize("power", [-900, -500, 500, 900])
def test_training_and_library_may_be_of_different_size(power):
    y, f = np.array([3.0, 1.0, 2.0, 7.0]), np.array([1.0, -2.0, 5.0, 4.0])
    for transform in ("scale", "affine"):
        plain = fit_one(a_training(y), a_library(f), transform=transform)
        match = fit_one(a_training(y), a_library(f * 2.0**power), transform=transform)
        assert match.scale == pytest.approx(plain.scale * 2.0**-power, rel=1e-14)
        assert match.offset == pytest.approx(plain.offset, rel=1e-13)
        assert match.sse == pytest.approx(plain.sse, rel=1e-13)


def test_scale_survives_products_that_underflow():
    # The one product is 3·2^-1080, the sum of squares 2^-700.
    training, library = a_training([0.0, 2.0**-390]), a_library([2.0**-350, 3 * 2.0**-690])
    assert fit_one(training, library, transform="scale").scale == 1.2182120819115116e-114


def test_scale_survives_products_that_underflow_where_the_scale_is_put_back_far():
    training, library = a_training([0.0, 2.0**400]), a_library([2.0**-450, 2.0**-1074])
    assert fit_one(training, library, transform="scale").scale == 2.0**-674 * 2.0**900


def test_affine_survives_products_that_underflow():
    # Both means are 0, and so are all products but the last two.
    y, f = 2.0**-390, 3 * 2.0**-690
    training = a_training([0.0, 0.0, y, -y])
    library = a_library([2.0**-350, -(2.0**-350), f, -f])
    match = fit_one(training, library, transform="affine")
    assert (match.scale, match.offset) == (3 * 2.0**-380, 0.0)


@pytest.mark.parametrize(
    ("transform", "f"), [("scale", [1, 2]), ("affine", [1, 2]), ("offset", [0, 0])]
)
def test_no_zero_of_a_match_has_a_sign(transform, f):
    match = fit_one(a_training([-0.0, -0.0]), a_library(f), transform=transform)
    assert "-0.0" not in repr(match)


def test_the_mean_of_the_largest_numbers_is_finite():
    match = fit_one(
        a_training([1.7e308] * 3), a_library([0] * 3), transform="offset", criterion="max"
    )
    assert match.offset == pytest.approx(1.7e308, rel=1e-15)


def test_affine_sees_a_slope_on_a_high_base():
    f = [1e8 + k * 0.001 for k in (0, 1, 2, 3, 4)]
    match = fit_one(a_training([0, 1, 2, 3, 4]), a_library(f), transform="affine")
    assert match.scale == pytest.approx(1000, rel=1e-4)


@pytest.mark.parametrize(
    ("y", "f", "slope"),
    [
        ([0.0, 1.0], [1.0, 1 + 2.0**-52], 2.0**52),
        ([0.0, 1.0, 5.0], [1e8, 1e8 + 2.0**-26, 1e8 + 2.0**-25], 2.5 * 2.0**26),
    ],
)
def test_affine_sees_a_slope_between_neighbouring_floats(y, f, slope):
    # The mean of f is no float here, so deviations from its rounding do not sum to 0.
    match = fit_one(a_training(y), a_library(f), transform="affine")
    assert match.scale == pytest.approx(slope, rel=1e-12)


# --------------------------------------------------------------------------- Sign


@pytest.mark.parametrize(
    ("transform", "f", "line", "sse"),
    [
        ("affine", [6, 5, 3, 1, 0], (0.0, 3.8), 22.8),
        ("scale", [-1, -2, -4, -7, -5], (0.0, 0.0), 95),
        ("affine", [0, 1, 3, 5, 6], (11 / 13, 82 / 65), 4.184615384615385),
        ("offset", [6, 5, 3, 1, 0], (1, 0.8), 92.8),
    ],
)
def test_a_positive_sign_leaves_no_scale_below_0(transform, f, line, sse):
    training, library = a_training([1, 2, 4, 7, 5]), a_library(f)
    match = fit_one(training, library, transform=transform, sign="positive")
    assert (match.scale, match.offset) == pytest.approx(line, rel=1e-15)
    assert match.sse == pytest.approx(sse, rel=1e-14)


def test_curves_that_are_upside_down_tie_behind_one_that_is_not():
    y = [1, 2, 4, 7, 5]
    library = a_library([-v for v in y], [2, 1, 4, 7, 3], [5, 4, 2, 1, 0])
    assert choose(a_training(y), library, transform="affine", top_k=3)[0] == 0
    options = {"transform": "affine", "sign": "positive", "top_k": 3}
    assert choose(a_training(y), library, **options) == [1, 0, 2]
    _, second, third = fit_all(a_training(y), library, **options)
    assert (second.score, second.r2) == (third.score, third.r2) == (22.8, 0)


@pytest.mark.parametrize("power", [-1060, -600, 600, 1000])
@pytest.mark.parametrize("transform", ["scale", "affine"])
def test_powers_of_two_do_not_harm_the_sign(transform, power):
    y, f = np.array([3.0, 1.0, 2.0, 7.0]), -np.array([3.0, 1.0, 2.0, 6.0])
    options = {"transform": transform, "sign": "positive", "criterion": "max"}
    plain = fit_one(a_training(y), a_library(f), **options)
    big = fit_one(a_training(y * 2.0**power), a_library(f), **options)
    assert (big.scale, big.offset) == (0, plain.offset * 2.0**power)
    assert big.score == plain.score * 2.0**power


# --------------------------------------------------------------------------- Likeness


Y, F = [1.0, 2.0, 4.0, 7.0, 5.0], [0.0, 1.0, 3.0, 5.0, 6.0]


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_likeness_is_the_same_for_every_criterion_and_transform(criterion, transform):
    match = fit_one(a_training(Y), a_library(F), criterion=criterion, transform=transform)
    assert match.correlation == pytest.approx(0.903584106499, rel=1e-11)
    assert match.cosine == pytest.approx(0.961913709067, rel=1e-11)


@pytest.mark.parametrize(("up", "down"), [(-1000, -100), (-700, -700), (1000, 900), (900, 1000)])
def test_powers_of_two_change_no_bit_of_likeness_and_warnings(up, down):
    y, f = np.array(Y), np.array(F)
    for transform in ("scale", "affine"):
        options = {"transform": transform, "criterion": "max"}
        plain = fit_one(a_training(y), a_library(f), **options)
        other = fit_one(a_training(np.ldexp(y, up)), a_library(np.ldexp(f, down)), **options)
        assert other.warnings == plain.warnings == ()
        assert (other.correlation, other.cosine) == (plain.correlation, plain.cosine)


@pytest.mark.parametrize(
    ("y", "f", "correlation", "cosine"),
    [
        ([0.1] * 3, [1, 2, 3], None, 0.9258200997725514),
        ([1, 2, 3], [-0.0, 0.0, 0.0], None, None),
        ([0, 0, 0], [1, 2, 3], None, None),
        ([1, 0], [0, 1], -1, 0),
        ([1, 0], [0, -1], 1, 0),
        ([3], [-2], None, -1),
    ],
)
def test_likeness_of_constants_and_zeros(y, f, correlation, cosine):
    match = fit_one(a_training(y), a_library(f))
    for figure, expected in ((match.correlation, correlation), (match.cosine, cosine)):
        assert figure == (expected if expected is None else pytest.approx(expected, rel=1e-15))
    assert "-0.0" not in repr((match.correlation, match.cosine))
    assert ("constant_curve" in match.warnings) is (correlation is None)


def test_likeness_between_neighbouring_floats():
    # The mean of y is no float here; centred once, the curves would not be alike.
    y, f = [1e8, 1e8 + 2.0**-26, 1e8 + 2.0**-25], [0.0, 1.0, 2.0]
    assert fit_one(a_training(y), a_library(f)).correlation == pytest.approx(1, rel=1e-15)


@pytest.mark.parametrize(
    ("library", "margins"),
    [
        ([[1.0]], [None]),
        ([[1.0], [2.0]], [0.75, None]),
        ([[1.0], [-1.0], [2.0]], [0, 0.75, None]),
        ([[0.0], [-0.0], [1.0]], [0, 1, None]),
        ([[0.0], [0.0]], [0, None]),
        ([[1.0], [1e200]], [None]),
        ([[1.0], [None]], [None]),
        ([[2.0**-530], [2.0**-529]], [0.75, None]),
    ],
)
def test_the_margin_is_the_distance_of_the_next_score(library, margins):
    finite = sum(1 for (f,) in library if f is not None and abs(f) < 1e154)
    for top_k in range(1, finite + 1):
        matches = fit_all(a_training([0.0]), a_library(*library), top_k=top_k)
        assert [match.margin for match in matches] == margins[:top_k]
        tied = ["tied" in match.warnings for match in matches]
        assert tied == [margin == 0 for margin in margins[:top_k]]


# --------------------------------------------------------------------------- Doubts


@pytest.mark.parametrize(
    ("y", "f", "options", "warnings"),
    [
        (Y, F, {}, ()),
        ([1, 2], [1, 3], {}, ("one_point_decides",)),
        ([1], [1], {}, ("few_pairs", "constant_curve")),
        ([1, 2], [2, 4], {"transform": "scale"}, ("few_pairs",)),
        ([1, 2, 4], [2, 4, 6], {"transform": "affine"}, ("few_pairs",)),
        (Y, [0.5, 2.5, 3, None, None], {"min_overlap": 0.1}, ()),
        (Y, [3, 3, None, None, None], {"min_overlap": 0.1}, ("few_pairs", "constant_curve")),
        (Y, [-v for v in F], {"transform": "affine"}, ("inverted",)),
        (Y, [0] * 5, {"transform": "scale"}, ("degenerate_scale", "constant_curve")),
        ([5] * 5, F, {}, ("constant_curve",)),
        ([9] + [0] * 11, [9, 1, 1] + [0] * 9, {}, ("one_point_decides",)),
        (Y, [1, 2, 4, 7, 6], {}, ("one_point_decides",)),
        (Y, [1, 2, 4, 7, 5 + 1e-13], {}, ()),
        (Y, [9, 8, 1, 1, 20], {}, ("worse_than_mean",)),
    ],
)
def test_warnings_tell_what_is_doubtful(y, f, options, warnings):
    found = set(fit_one(a_training(y), a_library(f), **options).warnings)
    ignored = {"worse_than_mean"} if "worse_than_mean" not in warnings else set()
    assert found - ignored == set(warnings)


@pytest.mark.parametrize(
    ("transform", "far", "warns"),
    [("affine", 3e6, True), ("affine", 1e6, False), ("scale", 2e6, False), ("scale", 7e6, True)],
)
@pytest.mark.parametrize("power", [-1000, 0, 900])
def test_a_scale_fitted_to_the_flat_part_of_a_curve_is_degenerate(transform, far, warns, power):
    f = np.ldexp([4.0, 5.0, 6.0, 4.0, 5.0, far], power)
    training, library = a_training([1, 2, 3, 1, 2.5]), a_library(f)
    match = fit_one(training, library, transform=transform, criterion="max")
    assert ("degenerate_scale" in match.warnings) is warns


def test_few_pairs_counts_numbers_that_the_library_does_not_cover():
    training = a_training([1, 2, 3, 4, 1, 2, 3, 4, 9], x=[0, 1, 2, 3, 70, 71, 72, 73, 74])
    library = a_library([2, 3, 4, 6])
    assert fit_one(training, library, outside="omit").warnings[0] == "few_pairs"
    fewer = a_training([1, 2, 3, 4, 1, 2, 3, 4, None], x=training.x)
    assert "few_pairs" not in fit_one(fewer, library, outside="omit").warnings


# --------------------------------------------------------------------------- Criterion


def test_each_criterion_may_choose_another_curve():
    training = a_training([0.0] * 4)
    library = a_library([3, 0, 0, 0], [1.6, 1.6, 0, 1], [1.5, 1.5, 1.5, 1.5])
    assert choose(training, library, criterion="mae") == [0]
    assert choose(training, library, criterion="sse") == [1]
    assert choose(training, library, criterion="max") == [2]


def test_the_statistics_of_a_match():
    match = fit_one(a_training([1, 2, 3, 6]), a_library([1, 1, 5, 6]), criterion="mae")
    assert match._asdict() == {
        "training_index": 0,
        "rank": 1,
        "ideal_index": 0,
        "score": 0.75,
        "sse": 5,
        "rmse": math.sqrt(1.25),
        "mae": 0.75,
        "max_deviation": 2,
        "r2": 1 - 5 / 14,
        "n": 4,
        "scale": 1,
        "offset": 0,
        "correlation": pytest.approx(15 / math.sqrt(14 * 20.75), rel=1e-15),
        "cosine": pytest.approx(54 / math.sqrt(50 * 63), rel=1e-15),
        "margin": None,
        "warnings": (),
    }


def test_r2_is_null_for_a_constant_training_curve():
    # The mean of three 0.1 is not 0.1 in float64, so a sum of squares would not be 0.
    assert fit_one(a_training([0.1] * 3), a_library([0.2] * 3)).r2 is None
    assert fit_one(a_training([0.1] * 3), a_library([0.1] * 3)).r2 is None


def test_r2_judges_the_pairs_alone():
    assert fit_one(a_training([1, 2, 1]), a_library([1, None, 1]), min_overlap=0.5).r2 is None


def test_r2_of_numbers_that_differ_by_little_is_not_invented():
    match = fit_one(a_training([1e-200, 2e-200, 4e-200]), a_library([1e-200, 2e-200, 5e-200]))
    # In rational numbers it is 1 - 1e-400 / 4.67e-400 = 0.786.
    assert match.r2 is None or match.r2 == pytest.approx(1 - 1 / (14 / 3))


def test_r2_of_huge_numbers_is_not_invented():
    # Both sums: 1e308 and 2e308, and only the first is a float64.
    match = fit_one(a_training([1e154, -1e154]), a_library([1e154, 0.0]))
    assert match.sse == pytest.approx(1e308)
    assert match.r2 is None or match.r2 == pytest.approx(0.5)


# --------------------------------------------------------------------------- Ranking


def test_equal_scores_keep_the_order_of_the_library():
    training = a_training([1, 1])
    library = a_library([3, 1], [2, 2], [0, 0], [1, 1], [0, 2])
    assert choose(training, library, top_k=9) == [3, 1, 2, 4, 0]


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("cuts", [(), (1,), (2,), (1, 2, 3)])
def test_the_first_of_equals_wins_across_blocks(criterion, cuts):
    training = a_training([1, 2, 3])
    library = a_library([5, 5, 5], [1, 2, 4], [1, 2, 2], [1, 2, 4])
    assert choose(training, library, criterion=criterion, cuts=cuts) == [1]


def test_fewer_than_top_k_where_fewer_are_eligible():
    training = a_training([1, None], [1, 2])
    matches = fit_all(training, a_library([1, None], [1, 2]), top_k=5)
    assert [(m.training_index, m.rank, m.ideal_index) for m in matches] == [
        (0, 1, 0),
        (0, 2, 1),
        (1, 1, 1),
    ]


def test_top_k_is_1_or_more():
    with pytest.raises(InvalidOption):
        fit_all(a_training([1]), a_library([1]), top_k=0)


def test_curves_near_1e8_that_differ_by_0_001_are_told_apart():
    base = 1e8 + np.array([0.0, 1.0, 2.0, 3.0])
    library = a_library(base + 0.002, base + 0.001, base - 0.001, base + 0.003)
    matches = fit_all(a_training(base), library, top_k=4)
    assert [m.ideal_index for m in matches] == [1, 2, 0, 3]
    assert [m.score for m in matches] == [
        float(np.sum((base - library.y[j]) ** 2)) for j in (1, 2, 0, 3)
    ]


def test_scores_equal_in_float64_alone_are_a_tie():
    # 1e16 + 1 and 1e16 are the same float64, so the first curve wins, though farther off.
    training = a_training([0.0, 0.0])
    assert choose(training, a_library([1e8, 1.0], [1e8, 0.0])) == [0]
    assert choose(training, a_library([1e8, 0.0], [1e8, 1.0])) == [0]


@pytest.mark.parametrize("size", [1, 5, 700])
def test_squares_that_underflow_are_a_tie(size):
    # All scores are 0 in float64; max tells the curves apart.
    training = a_training([0.0, 0.0])
    library = a_library(*[[(size - j) * 1e-170] * 2 for j in range(size)])
    assert choose(training, library) == [0]
    assert choose(training, library, criterion="max") == [size - 1]


def test_a_score_that_is_not_finite_ranks_last():
    training = a_training([0, 0])
    library = a_library([1e200, 0], [7, 7], [1e300, 1e300], [3, 3])
    matches = fit_all(training, library, top_k=4)
    assert [m.ideal_index for m in matches] == [3, 1, 0, 2]
    assert [math.isfinite(m.score) for m in matches] == [True, True, False, False]


@pytest.mark.parametrize("cuts", [(), (1,), (1, 2), (1, 2, 3)])
@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_score_that_is_no_number_ranks_last(transform, criterion, cuts):
    training = a_training([0.0, 1.0], x=[0.5, 1])
    # f1 - f0 overflows, and the sums and products of a transform then make NaN of it.
    bad = [1.7e308, -1.7e308]
    options = {"criterion": criterion, "transform": transform, "alignment": "linear"}
    library = a_library(bad, [9, 10], bad, [8, 8])
    everything = fit_all(training, library, top_k=4, cuts=cuts, **options)
    assert [math.isfinite(m.score) for m in everything] == [True, True, False, False]
    assert {m.ideal_index for m in everything[:2]} == {1, 3}
    for top_k in (1, 2, 3):
        best = fit_all(training, library, top_k=top_k, cuts=cuts, **options)
        assert repr(best) == repr(everything[:top_k])


def test_matches_without_a_finite_score_are_as_many_as_asked_for():
    training = a_training([0.0, 1.0], x=[0.5, 1])
    bad = [1.7e308, -1.7e308]
    matches = fit_all(
        training, a_library(bad, bad, [9, 10], bad), alignment="linear", transform="affine", top_k=2
    )
    assert [m.ideal_index for m in matches] == [2, 0]


def test_a_match_without_a_finite_score_is_refused_with_the_names_of_the_curves():
    matches = fit_all(a_training([0.0], [1e200]), a_library([1.0]))
    with pytest.raises(NoFit) as refusal:
        fit.require_finite(matches, {0: "calm", 1: "wild"}, {0: "low"})
    assert "wild" in collect_words(refusal.value)
    assert "low" in collect_words(refusal.value)
    assert "calm" not in collect_words(refusal.value)


def test_finite_scores_pass():
    matches = fit_all(a_training([0.0], [5.0]), a_library([1.0]))
    fit.require_finite(matches, {0: "a", 1: "b"}, {0: "c"})


def test_a_statistic_that_float64_cannot_hold_is_null():
    match = fit_one(a_training([1e200, 3e200]), a_library([0.0, 0.0]), criterion="max")
    assert (match.score, match.max_deviation, match.mae) == (3e200, 3e200, 2e200)
    assert match.sse is None
    fit.require_finite([match], {0: "y1"}, {0: "f1"})


@pytest.mark.parametrize("power", [-900, -500, 500, 900])
def test_only_the_sums_on_the_way_to_a_statistic_are_out_of_range(power):
    y, f = np.array([1.0, 3.0, 2.0, 6.0]), np.array([1.5, 2.0, 2.5, 5.0])
    plain = fit_one(a_training(y), a_library(f), criterion="max")
    match = fit_one(a_training(np.ldexp(y, power)), a_library(np.ldexp(f, power)), criterion="max")
    assert (match.rmse, match.mae) == tuple(np.ldexp([plain.rmse, plain.mae], power))
    assert match.r2 == plain.r2


def test_a_sum_of_deviations_that_overflows_has_a_mean():
    match = fit_one(a_training([1.7e308, 1.7e308]), a_library([0.0, 0.0]), criterion="max")
    assert (match.score, match.mae, match.rmse, match.sse) == (1.7e308, 1.7e308, 1.7e308, None)


def test_a_score_of_mae_that_overflows_is_refused_though_its_mean_is_a_float():
    match = fit_one(a_training([1.7e308, 1.7e308]), a_library([0.0, 0.0]), criterion="mae")
    assert match.score == math.inf


def test_r2_of_residuals_far_larger_than_the_curve_is_a_float():
    match = fit_one(a_training([1e100, 2e100]), a_library([1e200, 1e200]), criterion="max")
    assert match.r2 == pytest.approx(-4e200)


def test_indices_are_those_in_the_dataset():
    training, library = a_training([1, 2], [3, 4]), a_library([3, 4], [1, 2])
    matches = fit_blocks(
        training,
        np.array([5, 9]),
        library.x,
        in_blocks(library, (1,), indices=[17, 40]),
        FitOptions(),
    )
    assert [(m.training_index, m.ideal_index) for m in matches] == [(5, 40), (9, 17)]


def test_blocks_may_be_read_only():
    training, library = a_training([1, None, 3]), a_library([1, 2, None], [3, 2, 1])
    for array in (training.x, training.y, library.x, library.y):
        array.flags.writeable = False
    (block,) = in_blocks(library)
    block.y.flags.writeable = False
    for alignment in ("exact", "linear"):
        options = FitOptions(alignment=alignment, min_overlap=0.5, transform="affine")
        assert fit_blocks(training, np.arange(1), library.x, [block], options)


def test_the_inputs_are_left_as_they_were():
    training, library = a_training([1, None, 3]), a_library([1, 2, None], [3, 2, 1])
    before = [array.copy() for array in (training.x, training.y, library.x, library.y)]
    fit_all(training, library, transform="affine", min_overlap=0.5, top_k=2)
    for array, copy in zip((training.x, training.y, library.x, library.y), before, strict=True):
        assert np.array_equal(array, copy, equal_nan=True)


# --------------------------------------------------------------------------- against the loops


def have_same_bits(match, expected):
    """Tell whether two matches agree in everything that method.md defines to the bit."""
    ours, theirs = match._asdict(), expected._asdict()
    if not math.isfinite(theirs["score"]) and not math.isfinite(ours["score"]):
        ours["score"] = theirs["score"] = math.inf
    for name in ("r2", "scale", "offset"):
        ours.pop(name), theirs.pop(name)
    return ours == theirs


def ask_service(problem, options, **cutting):
    """Ask the service: its matches, or its refusal."""
    training, library = problem.training, problem.library
    try:
        return fit_blocks(
            training,
            np.arange(len(training.y)),
            library.x,
            in_blocks(library, **cutting),
            options,
        )
    except (GridError, NoFit) as refusal:
        return refusal


def ask_oracle(problem, options):
    """Ask the oracle: its matches, or its refusal."""
    training, library = problem.training, problem.library
    try:
        return naive.fit(training, range(len(training.y)), library, range(len(library.y)), options)
    except naive.Refused as refusal:
        return refusal


@st.composite
def draw_options(draw, problem, transforms):
    return FitOptions(
        criterion=draw(st.sampled_from(CRITERIA)),
        transform=draw(st.sampled_from(transforms)),
        alignment=problem.alignment,
        x_tolerance=problem.x_tolerance,
        outside=draw(st.sampled_from(["reject", "omit", "omit"])),
        min_overlap=draw(st.sampled_from([1.0, 1.0, 0.75, 0.5, 1 / 3, 0.2, 5e-324])),
        top_k=draw(st.sampled_from([1, 2, 3, 50])),
        sign=draw(st.sampled_from(get_args(Sign))),
    )


@st.composite
def draw_questions(draw, transforms=("none",), **kinds):
    problem = draw(factories.problems(**kinds))
    return problem, draw(draw_options(problem, transforms))


@given(draw_questions(), st.sets(st.integers(1, 6), max_size=3))
@examples(250)
def test_without_a_transform_every_bit_agrees_with_the_loops(question, cuts):
    problem, options = question
    got = ask_service(problem, options, cuts=cuts)
    expected = ask_oracle(problem, options)
    if isinstance(expected, naive.NotCovered):
        assert isinstance(got, GridError)
        assert [fact.row for fact in got.facts] == expected.rows[: len(got.facts)]
        return
    if isinstance(expected, naive.NoCurve):
        assert isinstance(got, NoFit)
        assert {fact.column for fact in got.facts} <= set(expected.names)
        assert got.facts[0].column in collect_words(got)
        return
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert have_same_bits(ours, theirs)
        assert (ours.scale, ours.offset) == (1, 0)


def collect_pairs(problem, options, match):
    """Collect the pairs (y, f) of a match."""
    training, library = problem.training, problem.library
    where = naive.places(training.x, library.x, options)
    return naive.pairs(where, training.y[match.training_index], library.y[match.ideal_index])


@given(draw_questions(TRANSFORMS))
@examples(150)
def test_the_figures_of_a_match_are_those_of_its_scale_and_offset(question):
    problem, options = question
    got = ask_service(problem, options)
    assume(isinstance(got, list))
    for match in got:
        y, f = collect_pairs(problem, options, match)
        figures = naive.judge(y, f, options, match.scale, match.offset)
        expected = naive.Match(**(match._asdict() | figures))
        assert have_same_bits(match, expected)
        curves = problem.training.y[match.training_index], problem.library.y[match.ideal_index]
        words = naive.warnings_of((y, f), curves, options, match._asdict())
        assert tuple(word for word in match.warnings if word != "tied") == words


@given(draw_questions(TRANSFORMS))
@examples(150)
def test_the_ranking_is_by_the_scores_and_complete(question):
    problem, options = question
    everything = ask_service(problem, replace(options, top_k=1000))
    assume(isinstance(everything, list))
    keys = [(m.training_index, *naive.ranking_key(m.score, m.ideal_index)) for m in everything]
    assert keys == sorted(keys)
    for match, following in zip(everything, [*everything[1:], None], strict=True):
        is_last = following is None or following.rank == 1
        margin = naive.margin_of(match.score, None if is_last else following.score)
        assert (match.margin, "tied" in match.warnings) == (margin, margin == 0)
    training, library = problem.training, problem.library
    where = naive.places(training.x, library.x, options)
    expected = set()
    for t in range(len(training.y)):
        whole = naive.needed(where, training.y[t])
        for j in range(len(library.y)):
            n = len(naive.pairs(where, training.y[t], library.y[j])[0])
            if n > 0 and naive.eligible(n, whole, options.min_overlap):
                expected.add((t, j, n))
    assert {(m.training_index, m.ideal_index, m.n) for m in everything} == expected
    assert len(everything) == len(expected)
    best = [m for m in everything if m.rank <= options.top_k]
    assert repr(ask_service(problem, options)) == repr(best)


def is_near(value, exact, bound):
    """Tell whether a float is within a bound of a rational number, or that is too large for one."""
    if not math.isfinite(value):
        return abs(exact) + bound > Fraction(1.7e308)
    return abs(Fraction(value) - exact) <= bound


@given(draw_questions([t for t in TRANSFORMS if t != "none"]))
@examples(150)
def test_scale_and_offset_are_those_of_rational_numbers(question):
    problem, options = question
    got = ask_service(problem, options)
    assume(isinstance(got, list))
    for match in got:
        y, f = collect_pairs(problem, options, match)
        if not np.all(np.isfinite(f)) or not math.isfinite(match.score):
            continue
        scale, offset = naive.exact_member(options.transform, y, f)
        if options.sign == "positive" and match.scale == 0:
            level = naive.mean_of(y) if options.transform == "affine" else 0.0
            assert match.offset == pytest.approx(level, rel=1e-15) or not math.isfinite(level)
            continue
        if options.transform == "affine" and max(f) > min(f):
            bounds = naive.affine_bound(y, f)
        elif options.transform == "affine":
            assert match.scale == 0
            assert max(y) > min(y) or match.offset == y[0]
            bounds = (0, naive.member_bound("offset", y, np.zeros_like(f))[1])
        else:
            bounds = naive.member_bound(options.transform, y, f)
        if bounds is not None:
            assert is_near(match.scale, scale, bounds[0])
            assert is_near(match.offset, offset, bounds[1])


@given(draw_questions(TRANSFORMS, kinds=factories.TAME))
@examples(80)
def test_r2_is_the_one_of_rational_numbers(question):
    problem, options = question
    got = ask_service(problem, options)
    assume(isinstance(got, list))
    for match in got:
        y, _ = collect_pairs(problem, options, match)
        assert match.n == len(y)
        if max(y) == min(y):
            assert match.r2 is None
            continue
        exact = [Fraction(v) for v in y.tolist()]
        mean = sum(exact) / len(exact)
        around = sum((v - mean) ** 2 for v in exact)
        off = Fraction(max(abs(y)) * 2**-48) ** 2 * len(y)
        if around < Fraction(1e-250) or off * 8 > around or match.r2 is None:
            continue
        share = Fraction(match.sse) / around
        assert is_near(match.r2, 1 - share, (1 + share) * (Fraction(1e-13) + 4 * off / around))


@given(draw_questions(TRANSFORMS), st.data())
@examples(80)
def test_cutting_and_order_of_the_blocks_change_no_bit(question, data):
    problem, options = question
    training, library = problem.training, problem.library
    whole = ask_service(problem, options)
    assume(isinstance(whole, list))
    m = len(library.y)
    blocks = in_blocks(library, data.draw(st.sets(st.integers(1, max(m - 1, 1)))))
    blocks = data.draw(st.permutations(blocks))
    again = fit_blocks(training, np.arange(len(training.y)), library.x, iter(blocks), options)
    assert repr(again) == repr(whole)


@given(draw_questions(TRANSFORMS), st.randoms(use_true_random=False))
@examples(80)
def test_the_order_of_the_library_rows_changes_no_bit(question, random):
    problem, options = question
    order = list(range(len(problem.library.x)))
    random.shuffle(order)
    shuffled = replace(problem, library=rows_in_order(problem.library, order))
    one, other = ask_service(problem, options), ask_service(shuffled, options)
    assert type(one) is type(other)
    if isinstance(one, list):
        assert repr(one) == repr(other)


@given(draw_questions(TRANSFORMS))
@examples(60)
def test_each_training_curve_is_fitted_as_if_alone(question):
    problem, options = question
    training = problem.training
    together = ask_service(problem, options)
    assume(isinstance(together, list))
    for t in range(len(training.y)):
        alone = a_training(training.y[t], x=training.x)
        got = ask_service(replace(problem, training=alone), options)
        assert repr([m._replace(training_index=t) for m in got]) == repr(
            [m for m in together if m.training_index == t]
        )


# --------------------------------------------------------------------------- larger shapes


def score_plainly(training, library, options):
    """Score complete curves on one grid by the expressions of the original, one by one."""
    with np.errstate(all="ignore"):
        return np.array([[naive.score_of(y - f, options) for f in library.y] for y in training.y])


def rank_plainly(scores, top_k):
    keys = [
        sorted(range(len(row)), key=lambda j, row=row: naive.ranking_key(row[j], j))
        for row in scores
    ]
    return [j for order in keys for j in order[:top_k]]


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_problem_shaped_like_the_seed_agrees_with_the_loops(criterion, seed):
    training, library = a_seed_like_problem(seed)
    options = FitOptions(criterion=criterion, top_k=3)
    got = fit_blocks(training, np.arange(4), library.x, in_blocks(library, (13, 40)), options)
    expected = naive.fit(training, range(4), library, range(50), options)
    for ours, theirs in zip(got, expected, strict=True):
        assert have_same_bits(ours, theirs)
        assert ours.r2 == pytest.approx(theirs.r2, rel=1e-13)


@pytest.mark.parametrize("transform", [t for t in TRANSFORMS if t != "none"])
def test_transforms_of_a_problem_shaped_like_the_seed_agree_with_the_loops(transform):
    training, library = a_seed_like_problem(3)
    options = FitOptions(transform=transform, top_k=2)
    got = fit_blocks(training, np.arange(4), library.x, in_blocks(library, (13,)), options)
    expected = naive.fit(training, range(4), library, range(50), options)
    for ours, theirs in zip(got, expected, strict=True):
        assert (ours.ideal_index, ours.rank) == (theirs.ideal_index, theirs.rank)
        assert ours.scale == pytest.approx(theirs.scale, rel=1e-12)
        assert ours.offset == pytest.approx(theirs.offset, rel=1e-12, abs=1e-12)
        assert ours.score == pytest.approx(theirs.score, rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 127, 128, 129, 130, 257, 1000, 4099, 20011])
def test_sums_of_every_length_have_the_bits_of_the_original(n):
    random = np.random.default_rng(n)
    y, f = random.normal(size=(2, n)), random.normal(size=(5, n))
    holes = random.random((5, n)) < 0.3
    holes[:, 0] = False
    gappy = np.where(holes, np.nan, f)
    training = a_training(*y, x=np.arange(n))
    for curves, options in (
        (f, {}),
        (gappy, {"min_overlap": 1e-9}),
        (gappy, {"min_overlap": 1e-9, "criterion": "mae"}),
    ):
        for match in fit_all(training, a_library(*curves, x=np.arange(n)), top_k=5, **options):
            there = ~np.isnan(curves[match.ideal_index])
            a = np.ascontiguousarray(y[match.training_index][there])
            b = np.ascontiguousarray(curves[match.ideal_index][there])
            assert match.sse == np.sum((a - b) ** 2)
            assert match.mae == np.sum(np.abs(a - b)) / len(a)
            assert match.max_deviation == np.max(np.abs(a - b))


LARGE = {
    "noise": lambda r, m, n: r.normal(size=(m, n)),
    "ties": lambda r, m, n: r.integers(-1, 2, (m, n)).astype(float),
    "lifted": lambda r, m, n: 1e8 + r.integers(-2, 3, (m, n)) * 0.001,
    "far-lifted": lambda r, m, n: 1e15 + r.integers(-1, 2, (m, n)) * 0.125,
    "huge": lambda r, m, n: r.normal(size=(m, n)) * 1e154,
    "tiny": lambda r, m, n: r.normal(size=(m, n)) * 1e-161,
    "lost": lambda r, m, n: r.normal(size=(m, n)) * 1e-170,
    "close": lambda r, m, n: np.sin(np.arange(n)) + r.integers(-1, 2, (m, n)) * 1e-15,
    "all-sizes": lambda r, m, n: np.ldexp(r.normal(size=(m, n)), r.integers(-500, 500, (m, 1))),
    "rare-peak": lambda r, m, n: np.where(r.random((m, n)) < 1e-4, 1e100, r.normal(size=(m, n))),
}


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("kind", LARGE)
def test_many_curves_are_ranked_as_by_the_loops(kind, criterion):
    random = np.random.default_rng(5)
    values = LARGE[kind](random, 903, 60)
    training = a_training(*values[:3], x=np.arange(60))
    library = a_library(*values[3:], x=np.arange(60))
    options = FitOptions(criterion=criterion)
    scores = score_plainly(training, library, options)
    for top_k, cuts in ((1, ()), (4, (100, 101, 500)), (900, (450,))):
        got = fit_all(training, library, criterion=criterion, top_k=top_k, cuts=cuts)
        assert [m.ideal_index for m in got] == rank_plainly(scores, top_k)
        for match in got:
            score = scores[match.training_index, match.ideal_index]
            assert match.score == score or not np.isfinite([match.score, score]).any()


@pytest.mark.parametrize("criterion", ["sse", "mae"])
@pytest.mark.parametrize("size", [60, 300])
def test_scores_that_differ_by_the_order_of_the_sum_alone_are_ranked_by_it(criterion, size):
    # All curves hold the same numbers, so the last bits of np.sum over a row decide.
    random = np.random.default_rng(7)
    noise = random.normal(size=size)
    library = a_library(*[random.permutation(noise) for _ in range(200)])
    training = a_training([0.0] * size, [0.1] * size)
    options = FitOptions(criterion=criterion)
    scores = score_plainly(training, library, options)
    assert len(set(scores[0])) > 2
    got = fit_all(training, library, criterion=criterion, top_k=20, cuts=(3, 90))
    assert [m.ideal_index for m in got] == rank_plainly(scores, 20)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("kind", ["noise", "ties", "lifted", "all-sizes", "close"])
def test_the_best_of_many_curves_is_the_first_of_their_whole_ranking(kind, transform):
    random = np.random.default_rng(6)
    values = LARGE[kind](random, 303, 40)
    values[3:][random.random((300, 40)) < 0.01] = np.nan
    training = a_training(*values[:3], x=np.arange(40))
    library = a_library(*values[3:], x=np.arange(40))
    for min_overlap in (1.0, 0.95):
        options = {"transform": transform, "min_overlap": min_overlap}
        whole = fit_all(training, library, top_k=1000, cuts=(7, 150), **options)
        best = fit_all(training, library, top_k=2, **options)
        assert best == [match for match in whole if match.rank <= 2]
        keys = [naive.ranking_key(m.score, m.ideal_index) for m in whole if m.training_index == 1]
        assert keys == sorted(keys)


@example(seed=0)
@given(seed=st.integers(0, 2**32 - 1))
@examples(20)
def test_random_subsets_and_gaps_of_many_curves_agree_with_the_loops(seed):
    random = np.random.default_rng(seed)
    n, m = 30, 80
    library_y = random.integers(-2, 3, (m, n)) + random.choice([0.0, 1e8])
    library_y[random.random((m, n)) < 0.02] = np.nan
    rows = random.permutation(n)[: random.integers(1, n + 1)]
    training_y = library_y[:2, rows] + random.integers(0, 2, (2, rows.size)) * 0.001
    library = a_library(*library_y, x=np.arange(n))
    training = a_training(*training_y, x=rows)
    for min_overlap in (1.0, 0.9):
        problem = factories.Problem(training, library, "exact", None)
        options = FitOptions(min_overlap=min_overlap, top_k=int(random.integers(1, 5)))
        got = ask_service(problem, options, cuts=(3, 50))
        expected = ask_oracle(problem, options)
        assert isinstance(got, NoFit) == isinstance(expected, naive.NoCurve)
        if isinstance(got, NoFit):
            continue
        for ours, theirs in zip(got, expected, strict=True):
            assert have_same_bits(ours, theirs)
