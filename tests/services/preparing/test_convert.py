"""Units of x and quantities of y; logarithms and powers are correctly rounded."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import GridError
from services.preparing.convert import Convert
from services.preparing.logarithms import compute_log10, compute_power_of_10
from services.preparing.prepare import plan_preparation, prepare_block
from tests.examples import examples
from tests.services.preparing import naive_steps as naive

GAP = float("nan")
UNITS = ["nm", "um", "cm-1", "eV", "Hz"]


def same_bits(found, expected):
    return found.tobytes() == np.array(expected).tobytes()


@examples(200)
@given(st.lists(st.floats(5e-324, 1.7976931348623157e308), min_size=1, max_size=20))
def test_log10_is_correctly_rounded(values):
    assert same_bits(compute_log10(np.array(values)), [naive.log10(one) for one in values])


@examples(200)
@given(st.lists(st.floats(-330, 310) | st.floats(-1e-5, 1e-5), min_size=1, max_size=20))
def test_powers_of_10_are_correctly_rounded(values):
    expected = [naive.power_of_10(one) for one in values]
    assert same_bits(compute_power_of_10(np.array(values)), expected)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 300.0])
def test_many_logarithms_and_powers(scale):
    x = np.random.default_rng(1).normal(size=2000) * scale
    y = compute_power_of_10(x)
    assert same_bits(y, [naive.power_of_10(one) for one in x.tolist()])
    near_one = 1 + np.abs(x) if scale < 300 else y[(y > 0) & np.isfinite(y)]
    assert same_bits(compute_log10(near_one), [naive.log10(one) for one in near_one.tolist()])


def test_powers_below_the_normal_floats_are_rounded_once():
    x = np.linspace(-323.9, -307.5, 5000)
    assert same_bits(compute_power_of_10(x), [naive.power_of_10(one) for one in x.tolist()])


def test_powers_of_10_in_float64_are_exact():
    whole = np.arange(-323, 309).astype(float)
    powers = np.array([float(f"1e{int(one)}") for one in whole])
    assert same_bits(compute_power_of_10(whole), powers)
    assert same_bits(compute_log10(powers[323:]), whole[323:])


def test_borders_of_float64():
    edges = np.array([-1e308, -324.0, -323.7, -323.6, 308.2547155599167, 308.3, 1e308, -0.0])
    expected = [0.0, 0.0, 0.0, 5e-324, naive.power_of_10(308.2547155599167), np.inf, np.inf, 1.0]
    assert same_bits(compute_power_of_10(edges), expected)
    assert compute_log10(np.array([5e-324]))[0] == naive.log10(5e-324)


def test_logarithms_do_not_depend_on_the_processor():
    """Without the wide instructions the bits are the same; those of np.log10 are not."""
    code = (
        "import numpy as np\n"
        "from services.preparing.logarithms import *\n"
        "x = np.random.default_rng(1).lognormal(0, 3, 5000)\n"
        "print((compute_log10(x).tobytes() + compute_power_of_10(-np.log10(1 + 0 * x) - x % 7)"
        ".tobytes()).hex())"
    )
    found = set()
    for disabled in ["", "AVX2 FMA3 AVX512F"]:
        env = os.environ | {"NPY_DISABLE_CPU_FEATURES": disabled}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], env=env, capture_output=True, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1


@pytest.mark.parametrize(("before", "after"), [*itertools.product(UNITS, UNITS)])
def test_x_goes_to_another_unit_and_back(before, after):
    x = np.array([400.0, 1800.5, 633.0])
    there = plan_preparation(x, [Convert(x=(before, after))]).x
    back = plan_preparation(there, [Convert(x=(after, before))]).x
    np.testing.assert_allclose(back, x, rtol=1e-15)
    truth = {"nm": 1, "um": 1e3, "cm-1": 1e7, "eV": 1239.8419843320025, "Hz": 2.99792458e17}
    straight = {"nm", "um"}
    length = x * truth[before] if before in straight else truth[before] / x
    expected = length / truth[after] if after in straight else truth[after] / length
    np.testing.assert_allclose(there, expected, rtol=1e-12)


def test_curves_keep_their_rows_when_x_turns_round():
    x = np.array([500.0, 250.0, 1000.0])
    preparation = plan_preparation(x, [Convert(x=("nm", "cm-1"))])
    y, _ = prepare_block(np.array([[5.0, 2.5, 10.0]]), preparation)
    assert preparation.x.tolist() == [20000.0, 40000.0, 10000.0]
    assert y.tolist() == [[5.0, 2.5, 10.0]]


@pytest.mark.parametrize(
    ("before", "after", "values"),
    [
        ("transmittance", "absorbance", [0.0, 1.0, GAP, GAP, GAP]),
        ("percent_transmittance", "absorbance", [2.0, 3.0, GAP, GAP, GAP]),
        ("transmittance", "percent_transmittance", [100.0, 10.0, 0.0, -100.0, GAP]),
        ("percent_transmittance", "transmittance", [0.01, 0.001, 0.0, -0.01, GAP]),
        ("absorbance", "transmittance", [0.1, 10**-0.1, 1.0, 10.0, GAP]),
        ("absorbance", "percent_transmittance", [10.0, 100 * 10**-0.1, 100.0, 1000.0, GAP]),
        ("absorbance", "absorbance", [1.0, 0.1, 0.0, -1.0, GAP]),
    ],
)
def test_y_becomes_another_quantity(before, after, values):
    x, y = np.arange(5.0), np.array([[1.0, 0.1, 0.0, -1.0, GAP]])
    found, failed = prepare_block(y, plan_preparation(x, [Convert(y=(before, after))]))
    np.testing.assert_allclose(found[0], values, rtol=1e-12)
    assert failed[0] == -1


def test_an_absorbance_without_a_finite_power_fails():
    y = np.array([[1.0, -400.0], [1.0, 400.0]])
    preparation = plan_preparation(np.arange(2.0), [Convert(y=("absorbance", "transmittance"))])
    found, failed = prepare_block(y, preparation)
    assert failed.tolist() == [0, -1]
    assert found[1].tolist() == [0.1, 0.0]


@pytest.mark.parametrize(
    "x", [[0.0, 1.0], [-1.0, 1.0], [1e-320, 1.0], 1.18 + 2.0**-52 * np.arange(10)]
)
def test_x_that_have_no_other_unit_are_refused(x):
    with pytest.raises(GridError, match="Step 1, convert: "):
        plan_preparation(np.array(x), [Convert(x=("nm", "cm-1"))])
