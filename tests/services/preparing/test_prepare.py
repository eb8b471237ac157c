"""Steps in order: rows, blocks, failures, and refusals that say what to do."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import CurveError, GridError, InvalidOption
from services.preparing import prepare
from services.preparing.absolute import Absolute
from services.preparing.asls import Asls
from services.preparing.baseline import Baseline
from services.preparing.convert import Convert
from services.preparing.derivative import Derivative
from services.preparing.normalize import Normalize
from services.preparing.prepare import plan_preparation, prepare_block
from services.preparing.regions import Regions
from services.preparing.resample import Resample
from services.preparing.smooth import Smooth
from tests.examples import examples

GAP = float("nan")

KEEPING = [
    Regions(exclude=((3.2, 4.9), (9, 8))),
    Smooth(5, 2),
    Derivative(1, 5, 3),
    Baseline(3),
    Asls(100.0),
    Absolute(),
    *map(Normalize, ["snv", "unit", "minmax", "max", "area"]),
    Convert(x=("nm", "cm-1")),
    Convert(y=("transmittance", "absorbance")),
    Convert(y=("absorbance", "percent_transmittance")),
]
MAKING = [Resample(step=0.3), Derivative(1), Derivative(2, per="row")]


def a_table(seed=1, m=23, n=40, gaps=0.03):
    """Curves on an even grid, most with gaps, one constant, one empty."""
    rng = np.random.default_rng(seed)
    y = rng.normal(1, 1, (m, n)) * 10.0 ** rng.integers(-3, 4, (m, 1))
    y[rng.random((m, n)) < gaps] = GAP
    y[3], y[4], y[5, 10] = 0.1, GAP, GAP
    return 1.0 + 0.25 * np.arange(n), y


@pytest.mark.parametrize("step", [*KEEPING, *MAKING], ids=str)
@pytest.mark.parametrize("tile", [1, 1 << 12])
def test_bits_do_not_depend_on_the_blocks(step, tile):
    x, y = a_table()
    preparation = plan_preparation(x, [step])
    whole, failed = prepare_block(y, preparation)
    small = tuple(replace(one, tile_bytes=tile) for one in preparation.planned)
    preparation = replace(preparation, planned=small)
    for size in (1, 7, 23):
        parts = [prepare_block(y[i : i + size], preparation) for i in range(0, len(y), size)]
        assert np.concatenate([part for part, _ in parts]).tobytes() == whole.tobytes()
        assert np.concatenate([some for _, some in parts]).tolist() == failed.tolist()


@pytest.mark.parametrize("step", KEEPING, ids=str)
@examples(10)
@given(st.randoms(use_true_random=False))
def test_rows_keep_their_order(step, random):
    x, y = a_table()
    order = list(range(x.size))
    random.shuffle(order)
    expected = plan_preparation(x, [step])
    values, failed = prepare_block(y, expected)
    shuffled = plan_preparation(x[order], [step])
    others, others_failed = prepare_block(y[:, order], shuffled)
    if expected.x.size < x.size:
        kept = np.flatnonzero(np.isin(x, expected.x)).tolist()
        order = [kept.index(row) for row in order if row in kept]
    assert shuffled.x.tobytes() == expected.x[order].tobytes()
    assert others.tobytes() == values[:, order].tobytes()
    assert others_failed.tolist() == failed.tolist()


@pytest.mark.parametrize("step", MAKING, ids=str)
def test_a_new_grid_ascends(step):
    x, y = a_table()
    values, _ = prepare_block(y, plan_preparation(x, [step]))
    backwards = plan_preparation(x[::-1].copy(), [step])
    assert (np.diff(backwards.x) > 0).all()
    assert prepare_block(y[:, ::-1], backwards)[0].tobytes() == values.tobytes()


def test_steps_are_applied_in_order():
    x, y = a_table(gaps=0)
    steps = [Convert(x=("nm", "cm-1")), Resample(step=50000.0), Smooth(7, 2), Normalize("snv")]
    values, failed = prepare_block(y, plan_preparation(x, steps))
    x_then, y_then = x, y
    for step in steps:
        preparation = plan_preparation(x_then, [step])
        x_then, (y_then, _) = preparation.x, prepare_block(y_then, preparation)
    assert plan_preparation(x, steps).x.tobytes() == x_then.tobytes()
    assert values.tobytes() == y_then.tobytes()
    assert failed[3] == failed[4] == 3


def test_a_failed_curve_has_gaps_and_the_first_step_that_failed():
    x, y = a_table()
    values, failed = prepare_block(y, plan_preparation(x, [Normalize("snv"), Normalize("max")]))
    assert failed.tolist() == [0 if row in {3, 4} else -1 for row in range(len(y))]
    assert np.isnan(values[3:5]).all()


def test_gaps_have_one_and_the_same_nan():
    x, y = a_table()
    y[0, :3] = np.array([-GAP, GAP, -GAP])
    values, _ = prepare_block(y, plan_preparation(x, [Absolute(), Derivative(1)]))
    assert set(values[np.isnan(values)].view(np.uint64).tolist()) == {0x7FF8000000000000}


def test_no_step_changes_nothing():
    x, y = np.array([3.0, 1.0, 2.0]), np.array([[-0.0, GAP, 5.0]])
    preparation = plan_preparation(x, [])
    assert preparation.x.tobytes() == x.tobytes()
    assert prepare_block(y, preparation)[0].tobytes() == y.tobytes()
    assert prepare_block(y[:0], preparation)[0].shape == (0, 3)


UNEVEN = [1.0, 2.0, 3.0, 4.5]


@pytest.mark.parametrize("step", [Smooth(3, 1), Derivative(1, 3, 1), Asls()])
def test_an_uneven_grid_is_refused_with_the_advice_to_resample(step):
    with pytest.raises(GridError, match=f"Step 2, {step.name}: .*`resample`") as caught:
        plan_preparation(np.array(UNEVEN), [Absolute(), step])
    assert caught.value.facts[0].pointer == "/prepare/1"
    assert caught.value.facts[0].code == "uneven_grid"
    plan_preparation(np.array(UNEVEN), [Resample(step=0.5), step])


def test_a_grid_within_a_hundredth_of_a_step_is_even():
    x = np.arange(5.0)
    x[2] = 2.0099
    plan_preparation(x, [Smooth(3, 1)])
    x[2] = 2.0101
    with pytest.raises(GridError):
        plan_preparation(x, [Smooth(3, 1)])


@pytest.mark.parametrize(
    ("step", "field"),
    [
        (Regions(), "/use"),
        (Regions(use=((0, 1),), exclude=((0, 1),)), "/use"),
        (Regions(use=()), "/use"),
        (Regions(exclude=((0, 1),) * 101), "/exclude"),
        (Regions(use=((0, GAP),)), "/use"),
        (Resample(), "/step"),
        (Resample(step=0.0), "/step"),
        (Resample(step=GAP), "/step"),
        (Resample(step=1.0, x=np.arange(3.0)), "/step"),
        (Resample(start=1.0, x=np.arange(3.0)), "/dataset_id"),
        (Resample(start=2.0, stop=1.0, step=1.0), "/stop"),
        (Smooth(4, 2), "/window"),
        (Smooth(1, 0), "/window"),
        (Smooth(203, 2), "/window"),
        (Smooth(5, 5), "/degree"),
        (Smooth(11, 7), "/degree"),
        (Smooth(5, -1), "/degree"),
        (Derivative(3), "/order"),
        (Derivative(1, window=5), "/degree"),
        (Derivative(1, degree=5), "/window"),
        (Derivative(2, 5, 1), "/degree"),
        (Baseline(8), "/degree"),
        (Baseline(-1), "/degree"),
        (Asls(0.5), "/smoothness"),
        (Asls(GAP), "/smoothness"),
        (Asls(1e6, 1.0), "/asymmetry"),
        (Asls(1e6, 0.0), "/asymmetry"),
        (Convert(), "/x"),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_refused_by_name(step, field):
    with pytest.raises(InvalidOption, match=f"Step 2, {step.name}: ") as caught:
        prepare.check_steps([Absolute(), step])
    assert [fact.pointer for fact in caught.value.facts] == [f"/prepare/1{field}"]


def test_more_than_ten_steps_are_refused():
    prepare.check_steps([Absolute()] * 10)
    with pytest.raises(InvalidOption, match="at most 10 steps"):
        prepare.check_steps([Absolute()] * 11)


@pytest.mark.parametrize(
    ("step", "x", "code"),
    [
        (Regions(use=((7, 9),)), [1, 2], "no_rows_left"),
        (Regions(exclude=((0, 9),)), [1, 2], "no_rows_left"),
        (Resample(step=1e-300), [0, 1], "too_many_rows"),
        (Resample(step=5e-324), [-1e308, 1e308], "too_many_rows"),
        (Resample(step=0.1, most_rows=10), [0, 1], "too_many_rows"),
        (Resample(step=10.0), [1, 2], "no_rows_left"),
        (Resample(start=1e16, stop=1e16 + 4, step=0.5), [0, 1], "repeated_x"),
        (Smooth(3, 1), [0, 1, 2], "too_few_rows"),
        (Smooth(3, 1), [-1.5e308, -0.5e308, 0.5e308, 1.5e308], "x_overflow"),
        (Derivative(2, 3, 2), [0, 1e-170, 2e-170, 3e-170], "x_overflow"),
        (Derivative(1), [0], "too_few_rows"),
        (Derivative(2), [0, 1], "too_few_rows"),
        (Derivative(1), [-1.5e308, 1.5e308], "x_overflow"),
        (Derivative(1), 1 + 2.0**-52 * np.arange(1, 4), "repeated_x"),
        (Baseline(1), [-1.5e308, 1.5e308], "x_overflow"),
        (Normalize("area"), [-1.5e308, 1.5e308], "x_overflow"),
    ],
    ids=str,
)
def test_a_grid_that_a_step_cannot_treat_is_refused(step, x, code):
    with pytest.raises(GridError, match=f"Step 1, {step.name}: ") as caught:
        plan_preparation(np.array(x, dtype=np.float64), [step])
    assert [fact.code for fact in caught.value.facts] == [code]


def test_x_that_repeat_are_refused_before_any_step():
    with pytest.raises(GridError, match="Rows 0 and 1 both have x"):
        plan_preparation(np.array([1.0, 1.0]), [Absolute()])
    with pytest.raises(CurveError, match="Step 1, resample: "):
        plan_preparation(np.array([1.0, 2.0]), [Resample(x=np.array([1.0, 1.0]))])


@pytest.mark.parametrize("step", [*KEEPING, *MAKING], ids=str)
@examples(20)
@given(st.data())
def test_hostile_numbers_give_finite_numbers_or_gaps(step, data):
    """No warning, no infinity; a number becomes a gap only where the curve fails or a step says."""
    cells = st.floats(allow_nan=False, allow_infinity=False) | st.just(GAP)
    y = np.array(data.draw(st.lists(st.lists(cells, min_size=12, max_size=12), min_size=1)))
    x = 1.0 + 0.25 * np.arange(12)
    values, failed = prepare_block(y, plan_preparation(x, [step]))
    assert not np.isinf(values).any()
    assert np.isnan(values[failed >= 0]).all()
    if step.name in {"baseline", "absolute", "normalize"}:
        assert (np.isnan(values) == np.isnan(y))[failed < 0].all()
