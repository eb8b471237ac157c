"""Each step gives the bits of the plain loops, and is as near to the truth as method.md says."""

from dataclasses import asdict
from decimal import localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.preparing.absolute import Absolute
from services.preparing.asls import Asls
from services.preparing.baseline import Baseline
from services.preparing.derivative import Derivative
from services.preparing.normalize import Normalize
from services.preparing.prepare import plan_preparation, prepare_block
from services.preparing.regions import Regions
from services.preparing.resample import Resample
from services.preparing.savitzky_golay import compute_weights
from services.preparing.smooth import Smooth
from tests.examples import examples
from tests.services.preparing import naive_steps as naive

GAP = float("nan")
METHODS = ["snv", "unit", "minmax", "max", "area"]

# Powers of two are factored out of curves below 1e-120, which the plain loops do not know.
numbers = st.floats(-1e6, -1e-100) | st.floats(1e-100, 1e6) | st.integers(-5, 5).map(float)
cells = st.one_of(numbers, numbers, numbers, numbers, st.none())


@st.composite
def curves(draw, even, least=1):
    """Ascending x with a few curves."""
    n = draw(st.integers(least, 40))
    start = draw(st.floats(-100, 100))
    steps = (
        [0.25] * (n - 1)
        if even
        else draw(st.lists(st.floats(0.1, 9), min_size=n - 1, max_size=n - 1))
    )
    x = [start + total for total in np.cumsum([0.0, *steps]).tolist()]
    y = draw(st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=3))
    return x, y


def prepare(x, y, *steps):
    """Curves with gaps as None, after some steps."""
    preparation = plan_preparation(np.array(x, dtype=np.float64), steps)
    values, failed = prepare_block(
        np.array(y, dtype=np.float64).reshape(len(y), len(x)), preparation
    )
    return preparation.x, values, failed


def assert_agrees(x, y, step, plain, /, **parameters):
    """Compare with the plain loops, to the bit."""
    new_x, values, failed = prepare(x, y, step)
    for row, curve in enumerate(y):
        try:
            expected_x, expected = plain(x, curve, **parameters)
        except naive.Fails:
            assert failed[row] == 0
            assert np.isnan(values[row]).all()
            continue
        assert failed[row] == -1
        expected = np.array(expected, dtype=np.float64)
        assert new_x.tobytes() == np.array(expected_x).tobytes()
        assert values[row].tobytes() == expected.tobytes(), (values[row], expected)


@given(
    curves(even=False),
    st.lists(st.tuples(st.floats(-100, 400), st.floats(-100, 400)), min_size=1),
    st.booleans(),
)
def test_regions_keep_the_rows_inside_or_outside(table, intervals, outside):
    x, y = table
    key = "exclude" if outside else "use"
    intervals = (*intervals, (x[0], x[0])) if not outside else tuple(intervals)
    if outside and not naive.regions(x, y[0], exclude=intervals)[0]:
        return
    assert_agrees(x, y, Regions(**{key: intervals}), naive.regions, **{key: intervals})


@given(curves(even=False), st.floats(0.05, 3), st.floats(-3, 3), st.floats(0, 30))
def test_resample_reads_as_linear_alignment_does(table, step, start, length):
    x, y = table
    ends = {"start": x[0] + start, "stop": x[0] + start + length, "step": step}
    assert_agrees(x, y, Resample(**ends), naive.resample, **ends)


def test_resample_without_ends_takes_the_multiples_inside():
    x, y, _ = prepare([0.7, 1.2, 3.1], [[7, 12, 31]], Resample(step=0.5))
    assert x.tolist() == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert y[0].tolist() == pytest.approx([10, 15, 20, 25, 30])


def test_resample_on_the_x_of_a_dataset_ascends():
    x, y, _ = prepare([0, 1, 2], [[0, 10, 20]], Resample(x=np.array([1.5, 0.5, 7.0])))
    assert x.tolist() == [0.5, 1.5, 7.0]
    np.testing.assert_array_equal(y, [[5.0, 15.0, GAP]])


windows = st.integers(1, 4).flatmap(
    lambda half: st.tuples(st.just(2 * half + 1), st.integers(0, min(6, 2 * half)))
)


@given(curves(even=True, least=4), windows)
def test_smooth_agrees_with_the_loops(table, filter_):
    window, degree = filter_
    assert_agrees(*table, Smooth(window, degree), naive.smooth, window=window, degree=degree)


@given(curves(even=True, least=4), windows, st.sampled_from([1, 2]), st.sampled_from(["x", "row"]))
def test_a_filtered_derivative_agrees_with_the_loops(table, filter_, order, per):
    window, degree = filter_
    step = Derivative(order, window, max(degree, order), per)
    assert_agrees(*table, step, naive.derivative, **asdict(step))


@given(curves(even=False, least=3), st.sampled_from([1, 2]), st.sampled_from(["x", "row"]))
def test_a_plain_derivative_agrees_with_the_loops(table, order, per):
    step = Derivative(order, per=per)
    assert_agrees(*table, step, naive.derivative, **asdict(step))


@given(curves(even=False), st.integers(0, 7))
def test_baseline_agrees_with_the_loops(table, degree):
    assert_agrees(*table, Baseline(degree), naive.baseline, degree=degree)


@given(curves(even=True, least=4), st.floats(1, 1e9), st.floats(0.001, 0.999))
def test_asls_agrees_with_the_loops(table, smoothness, asymmetry):
    step = Asls(smoothness, asymmetry)
    assert_agrees(*table, step, naive.asls, smoothness=smoothness, asymmetry=asymmetry)


@given(curves(even=False))
def test_absolute_agrees_with_the_loops(table):
    assert_agrees(*table, Absolute(), naive.absolute)


@pytest.mark.parametrize("method", METHODS)
@given(curves(even=False))
def test_normalize_agrees_with_the_loops(method, table):
    assert_agrees(*table, Normalize(method), naive.normalize, method=method)


X, Y = [0.5 * i for i in range(7)], [1, 3, 2, 5, 4, 8, 6]


def test_numbers_of_a_smoothed_curve():
    _, y, _ = prepare(X, [Y], Smooth(5, 2))
    assert y[0, :3] == pytest.approx([1.11428571429, 2.34285714286, 3.28571428571], rel=1e-11)
    assert y[0, -1] == pytest.approx(6.48571428571, rel=1e-11)
    _, y, _ = prepare(X, [Y], Derivative(1, 5, 2))
    assert y[0, [0, -1]] == pytest.approx([2.74285714286, -0.657142857143], rel=1e-11)


def test_numbers_of_an_asymmetric_baseline():
    _, y, _ = prepare(range(7), [[1, 1, 3, 5, GAP, 1, 2]], Asls(10, 0.01))
    expected = [-0.00934494608464, -0.0208188386127, 1.96863241852, 3.96199504, GAP]
    expected += [-0.0394372899649, 0.959878933038]
    assert y[0] == pytest.approx(expected, rel=1e-11, nan_ok=True)


@pytest.mark.parametrize(("window", "degree"), [(3, 2), (11, 3), (101, 6)])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_weights_are_the_exact_ones_rounded_once(window, degree, order):
    weights = compute_weights(window, degree, order)
    for place in {0, 1, window // 2, window - 1}:
        assert weights[place].tolist() == naive.exact_weights(window, degree, order, place)


@examples(20)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=9, max_size=30), st.integers(0, 7), st.floats(0, 1e4)
)
def test_a_baseline_is_near_the_exact_one(y, degree, lift):
    """Within 100 roundings times the condition of the powers of x."""
    y = [lift + one for one in y]
    x = [float(i) for i in range(len(y))]
    _, found, _ = prepare(x, [y], Baseline(degree))
    exact = naive.exact_baseline(x, y, degree)
    spread = max(max(y) - min(y), 1e-300)
    assert np.abs(found[0] - exact).max() <= 100 * condition(x, degree) * 2**-53 * spread


def condition(x, degree):
    u = np.linspace(-1, 1, len(x))
    return float(np.linalg.cond(np.vander(u, degree + 1)))


@examples(10)
@given(st.lists(cells, min_size=5, max_size=14), st.sampled_from([1.0, 1e3, 1e6, 1e9]))
def test_asls_is_near_the_dense_solution(y, smoothness):
    if sum(one is not None for one in y) < 3:
        return
    _, found, _ = prepare(range(len(y)), [y], Asls(smoothness, 0.01))
    with localcontext(naive.DIGITS):
        exact = np.array(naive.exact_asls(y, smoothness, 0.01), dtype=np.float64)
    spread = np.nanmax(found) - np.nanmin(found) + np.ptp([one for one in y if one is not None])
    # Few numbers beside gaps, and stiff lines, leave fewer digits.
    share = 1e-8 if smoothness > 1e6 else 1e-10
    assert np.nanmax(np.abs(found[0] - exact)) <= share * spread + 1e-30


@pytest.mark.parametrize(
    "step", [Smooth(5, 2), Derivative(1, 5, 2), Derivative(2), Baseline(2), Asls()]
)
def test_a_constant_gives_itself_or_zero(step):
    _, y, _ = prepare(range(9), [[0.1] * 9], step)
    assert set(y[0].tolist()) == {0.1 if step.name == "smooth" else 0.0}


SCALED = [Smooth(5, 2), Derivative(1, 5, 2), Derivative(2), Baseline(2), Asls()]


@pytest.mark.parametrize("step", [*SCALED, *map(Normalize, METHODS)])
@pytest.mark.parametrize("power", [-1000, 1000])
def test_powers_of_two_change_no_digit(step, power):
    x, y = range(8), np.array([[1, 3, 2, 5, 4, 8, GAP, 6]]) * 0.7
    y = y[:, :6] if step.name in {"smooth", "derivative"} else y
    x = x[: y.shape[1]]
    _, plain, _ = prepare(x, y, step)
    _, scaled, failed = prepare(x, np.ldexp(y, power), step)
    back = 0 if step.name == "normalize" else -power
    assert failed[0] == -1
    np.testing.assert_array_equal(np.ldexp(scaled, back), plain)


def test_a_curve_that_becomes_infinite_fails_alone():
    _, y, failed = prepare([0.0, 0.125, 0.25], [[1, 2, 3], [1e308, -1e308, 1e308]], Derivative(1))
    np.testing.assert_array_equal(y, [[8.0, 8.0], [GAP, GAP]])
    assert failed.tolist() == [-1, 0]


def test_resample_fails_where_linear_alignment_overflows():
    _, y, failed = prepare([0, 1, 2], [[1e308, -1e308, 0.0]], Resample(step=0.5))
    assert np.isnan(y).all()
    assert failed.tolist() == [0]


@pytest.mark.parametrize("method", METHODS)
def test_constants_and_zeros_are_normalized_only_where_they_have_a_size(method):
    x = range(4)
    _, y, failed = prepare(
        x, [[0.1] * 4, [0.0] * 4, [GAP] * 4, [GAP, 5.0, GAP, GAP]], Normalize(method)
    )
    constant, alone = method in {"snv", "minmax"}, method in {"snv", "minmax", "area"}
    assert (failed == 0).tolist() == [constant, True, True, alone]
    assert np.isnan(y[failed == 0]).all()


def test_area_adds_nothing_across_a_gap():
    _, y, _ = prepare([0, 1, 2, 3, 5], [[1, 1, GAP, 2, 2]], Normalize("area"))
    np.testing.assert_array_equal(y * 5, [[1, 1, GAP, 2, 2]])
