"""Narrowed numbers return with all their bits, and those that can be are narrowed."""

from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import narrowing
from services.narrowing import count_item_bytes, narrow, widen
from tests.examples import examples

ANY_BITS = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits)))
SPECIAL = st.sampled_from(
    [np.nan, 0.0, -0.0, np.inf, -np.inf, 5e-324, -2.2e-308, 1e-45, 1.7e308, 2.0**31, -(2.0**31)]
)
INTEGERS = st.integers(-(2**31) - 2, 2**31 + 2)
DECIMALS = st.builds(lambda k, d: float(Fraction(k, 10**d)), INTEGERS, st.integers(0, 25))
SHORT = st.floats(width=32, allow_nan=False)
VALUES = st.one_of(
    st.lists(st.one_of(ANY_BITS.map(lambda pair: pair[0]), SPECIAL), min_size=1),
    st.lists(st.one_of(DECIMALS, SPECIAL), min_size=1),
    st.lists(st.one_of(SHORT, SPECIAL), min_size=1),
    st.integers(0, 12).flatmap(
        lambda d: st.lists(
            st.one_of(INTEGERS.map(lambda k: k / 10.0**d), st.sampled_from([np.nan, -0.0])),
            min_size=1,
            max_size=200,
        )
    ),
)


def roundtrip(values):
    stored, encoding = narrow(values)
    assert len(stored) == values.size
    assert stored.nbytes == values.size * count_item_bytes(encoding)
    found = widen(stored.tobytes(), encoding)
    assert found.tobytes() == values.tobytes()
    return encoding


@examples(2000)
@given(VALUES)
def test_every_bit_returns(values):
    roundtrip(np.array(values))


@examples(200)
@given(VALUES, st.data())
def test_a_part_is_read_from_its_own_bytes(values, data):
    values = np.array(values)
    stored, encoding = narrow(values)
    size = count_item_bytes(encoding)
    start = data.draw(st.integers(0, values.size - 1))
    found = widen(stored.tobytes()[start * size :], encoding)
    assert found.tobytes() == values[start:].tobytes()


def test_other_nans_keep_their_bits():
    for bits in (0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001, 0x7FF4000000000000):
        values = np.array([1.5, 2.5, 0.0])
        values.view(np.uint64)[2] = bits
        roundtrip(values)


RANDOM = np.random.default_rng(7)
NOISE = RANDOM.normal(size=100_000)
CASES = {
    "three decimals": (np.round(NOISE, 3), "int16e-3"),
    "six decimals": (np.round(NOISE, 6), "int32e-6"),
    "nine decimals of small numbers": (np.round(NOISE / 100, 9), "int32e-9"),
    "whole numbers": (np.arange(-300.0, 30_000.0), "int16e-0"),
    "float32": (NOISE.astype(np.float32).astype(float), "float32"),
    "all digits": (NOISE, None),
    "gaps only": (np.full(50, np.nan), "int16e-0"),
    "one number": (np.array([0.125]), "int16e-3"),
    "gaps and negative zeros": (np.array([np.nan, -0.0, 0.25] * 30), "int16e-2"),
    "denormals of float32": (np.array([1e-45, 3e-45], np.float32).astype(float), "float32"),
    "the largest": (np.array([2147483647, -2147483646, 0.0]), "int32e-0"),
    "one larger": (np.array([2147483648, 0.0]), "float32"),
    "a number that stands for a gap": (np.array([-2147483647, 0.0]), None),
}


@pytest.mark.parametrize(("values", "encoding"), CASES.values(), ids=CASES)
def test_the_narrowest_type_is_taken(values, encoding):
    assert roundtrip(np.asarray(values, float)) == encoding


def test_a_few_numbers_with_more_decimals_do_not_stop_it():
    values = np.round(NOISE, 2)
    values[[77, 78, 99_999]] = [0.123, 0.1234, 0.12345]
    assert roundtrip(values) == "int32e-5"


@pytest.mark.parametrize("place", [0, 77, 50_000, 99_999])
@pytest.mark.parametrize("odd", [np.pi, 1e300, -np.inf, 5e-324])
@pytest.mark.parametrize("kind", ["three decimals", "six decimals", "float32"])
def test_one_number_that_does_not_return_keeps_all_as_they_are(kind, odd, place):
    values = CASES[kind][0].copy()
    values[place] = odd
    # float32 holds an infinity, but the others do not.
    expected = "float32" if kind == "float32" and np.isinf(odd) else None
    assert roundtrip(values) == expected


def test_numbers_that_do_not_narrow_are_not_copied():
    assert np.shares_memory(narrow(NOISE)[0], NOISE)


def test_integers_return_as_the_nearest_float_to_each_decimal():
    integers = RANDOM.integers(-(2**31) + 2, 2**31, 500)
    for decimals in range(20):
        expected = [float(f"{k}e-{decimals}") for k in integers]
        found = widen(integers.astype("<i4").tobytes(), f"int32e-{decimals}")
        assert found.tolist() == expected


def test_powers_of_ten_are_exact_on_every_machine():
    assert [int(power) for power in narrowing._POWERS] == [10**d for d in range(20)]  # noqa: SLF001
