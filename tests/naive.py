"""Reference implementation: the slow, obvious answers that the services must give.

It is written from docs/method.md alone, in plain loops, as a readable specification. Floats are
Python's, which are IEEE 754 binary64 and round after every operation. NumPy appears only where
method.md defines bits by it (``np.sum`` over one contiguous row), and in the containers.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np


class Refused(Exception):  # noqa: N818 - named for what it is, like the errors of the services
    """No answer: method.md asks for a 422."""


class NotCovered(Refused):
    """Training x outside the library (method.md, "Pair"); `rows` are theirs."""

    def __init__(self, rows):
        super().__init__(rows)
        self.rows = rows


class NoCurve(Refused):
    """Training curves with no pair or no eligible curve (method.md, "Gaps"); `names` are theirs."""

    def __init__(self, names):
        super().__init__(names)
        self.names = names


class Place(NamedTuple):
    """Where an x lies on a grid: one row twice, or the two neighbouring rows."""

    left: int
    right: int
    rise: float
    run: float


class Match(NamedTuple):
    """One line of the answer of a fit; None is null."""

    training_index: int
    rank: int
    ideal_index: int
    score: float
    sse: float | None
    rmse: float | None
    mae: float | None
    max_deviation: float | None
    r2: float | None
    n: int
    scale: float
    offset: float
    correlation: float | None
    cosine: float | None
    margin: float | None
    warnings: tuple[str, ...]


class Item(NamedTuple):
    """One line of the answer of a mapping; function -1 and deviation None when unmapped."""

    point: int
    column: int
    function: int
    reason: str | None
    x: float
    y: float
    deviation: float | None


# --------------------------------------------------------------------------- Pair


def default_tolerance(grid):
    """1e-6 of the smallest step, 0 for a grid of one point (method.md, "Pair", exact)."""
    ordered = sorted(grid)
    steps = [ordered[i + 1] - ordered[i] for i in range(len(ordered) - 1)]
    if steps == [math.inf]:
        return float(Fraction(1e-6) * (Fraction(ordered[1]) - Fraction(ordered[0])))
    return 1e-6 * min(steps) if steps else 0.0


def exact_place(x, grid, tolerance):
    """Find the nearest grid value in reach, midway the smaller (method.md, "Pair", exact)."""
    row = min(range(len(grid)), key=lambda i: (abs(x - grid[i]), grid[i]))
    return Place(row, row, 0.0, 0.0) if abs(x - grid[row]) <= tolerance else None


def linear_place(x, grid):
    """Find the grid value itself, else both neighbours, else none (method.md, "Pair", linear)."""
    if x in grid:
        return Place(grid.index(x), grid.index(x), 0.0, 0.0)
    below = [i for i in range(len(grid)) if grid[i] < x]
    above = [i for i in range(len(grid)) if grid[i] > x]
    if not below or not above:
        return None
    left = max(below, key=lambda i: grid[i])
    right = min(above, key=lambda i: grid[i])
    return Place(left, right, x - grid[left], grid[right] - grid[left])


def places(x, grid, options):
    """For each x its place on the grid, or None where it is not covered (method.md, "Pair")."""
    x, grid = x.tolist(), grid.tolist()
    if options.alignment == "linear":
        return [linear_place(value, grid) for value in x]
    tolerance = options.x_tolerance
    if tolerance is None:
        tolerance = default_tolerance(grid)
    return [exact_place(value, grid, tolerance) for value in x]


def value_at(place, curve):
    """Read f at a place, None at a gap (method.md, "Pair", linear, and "Gaps")."""
    f0, f1 = float(curve[place.left]), float(curve[place.right])
    if math.isnan(f0) or math.isnan(f1):
        return None
    if place.left == place.right:
        return f0
    return f0 + (f1 - f0) * place.rise / place.run


def pairs(where, y, curve):
    """Collect (y, f) in the order of the training rows (method.md, "Pair" and "Gaps")."""
    ys, fs = [], []
    for i in range(len(y)):
        if where[i] is None or math.isnan(y[i]):
            continue
        f = value_at(where[i], curve)
        if f is not None:
            ys.append(float(y[i]))
            fs.append(f)
    return np.array(ys, dtype=np.float64), np.array(fs, dtype=np.float64)


def outside_rows(where, curves):
    """Rows whose numbers the library does not cover; gaps make no pair (method.md, "Pair")."""
    return [
        i
        for i in range(len(where))
        if where[i] is None and any(not math.isnan(curve[i]) for curve in curves)
    ]


def needed(where, y):
    """N, the training curve's numbers at covered x (method.md, "Gaps")."""
    return sum(1 for i in range(len(y)) if where[i] is not None and not math.isnan(y[i]))


def eligible(n, whole, min_overlap):
    """Tell whether a curve with n of N pairs may be chosen (method.md, "Gaps")."""
    if min_overlap == 1:
        return n == whole
    return n / whole >= min_overlap


# --------------------------------------------------------------------------- Transform


def member(transform, y, f, sign="any"):
    """Compute (a, b) by the plain formulas, for ordinary numbers (method.md, "Transform")."""
    a, b = member_of_any_sign(transform, y, f)
    if sign == "any" or a > 0:
        return a, b
    return 0.0, mean_of(y) if transform == "affine" else 0.0


def mean_of(y):
    """Compute ȳ, exact for a constant (method.md, "Transform")."""
    return float(y[0]) if max(y) == min(y) else float(np.sum(y) / len(y))


def member_of_any_sign(transform, y, f):
    """Compute (a, b) whatever the sign of a (method.md, "Transform")."""
    n = len(y)
    if transform == "none":
        return 1.0, 0.0
    if transform == "offset":
        return 1.0, float(np.sum(y - f) / n)
    if transform == "scale":
        return (float(np.sum(y * f) / np.sum(f * f)), 0.0) if np.any(f != 0) else (0.0, 0.0)
    y_mean, f_mean = np.sum(y) / n, np.sum(f) / n
    if max(f) == min(f):
        return 0.0, float(y[0]) if max(y) == min(y) else float(y_mean)
    a = np.sum((f - f_mean) * (y - y_mean)) / np.sum((f - f_mean) ** 2)
    return float(a), float(y_mean - a * f_mean)


def exact_member(transform, y, f):
    """Compute (a, b) in rational numbers, without any rounding (method.md, "Transform")."""
    y, f = [Fraction(v) for v in y.tolist()], [Fraction(v) for v in f.tolist()]
    n = len(y)
    if transform == "none":
        return Fraction(1), Fraction(0)
    if transform == "offset":
        return Fraction(1), sum(u - v for u, v in zip(y, f, strict=True)) / n
    if transform == "scale":
        squares = sum(v * v for v in f)
        return (
            sum(u * v for u, v in zip(y, f, strict=True)) / squares if squares else Fraction(0),
            Fraction(0),
        )
    y_mean, f_mean = sum(y) / n, sum(f) / n
    if max(f) == min(f):
        return Fraction(0), y_mean
    a = sum((v - f_mean) * (u - y_mean) for u, v in zip(y, f, strict=True)) / sum(
        (v - f_mean) ** 2 for v in f
    )
    return a, y_mean - a * f_mean


def member_bound(transform, y, f):
    """Bound how far (a, b) in float64 may lie from `exact_member` (method.md, "Transform").

    First-order error analysis of the plain formulas (Higham, Accuracy and Stability, sections 3
    and 4): a sum of n terms, each rounded a few times, is off by at most c·n·u·Σ|term|. With
    centred terms the two means carry δf and δy, whose product adds n·δf·δy to the numerator and
    whose square adds n·δf² to the denominator. Factors of two are free. The last term is a
    subnormal step for the final rounding.
    """
    y, f = [abs(Fraction(v)) for v in y.tolist()], [abs(Fraction(v)) for v in f.tolist()]
    n, u = len(y), Fraction(1, 2**52)
    step = Fraction(1, 2**1074)
    c = 4 * (n + 4) * u
    y_mean, f_mean = sum(y) / n, sum(f) / n
    if transform == "none":
        return Fraction(0), Fraction(0)
    if transform == "offset":
        return Fraction(0), c * (y_mean + f_mean) + 2 * step
    if transform == "scale":
        squares = sum(v * v for v in f)
        if squares == 0:
            return Fraction(0), Fraction(0)
        products = sum(v * w for v, w in zip(f, y, strict=True))
        return c * products / squares + 2 * step, Fraction(0)
    return None


def affine_bound(y, f):
    """Bound `affine` alike, where max(f) > min(f) (method.md, "Transform"; see `member_bound`).

    Squares far below the largest one may underflow: `floor`.
    """
    a, _ = exact_member("affine", y, f)
    y, f = [Fraction(v) for v in y.tolist()], [Fraction(v) for v in f.tolist()]
    n, u = len(y), Fraction(1, 2**52)
    step, floor = Fraction(1, 2**1074), Fraction(1, 2**256)
    c = 4 * (n + 4) * u
    y_mean, f_mean = sum(y) / n, sum(f) / n
    y_size, f_size = sum(abs(v) for v in y) / n, sum(abs(v) for v in f) / n
    y_off, f_off = c * y_size, c * f_size
    squares = sum((v - f_mean) ** 2 for v in f)
    products = sum(abs((v - f_mean) * (w - y_mean)) for v, w in zip(f, y, strict=True))
    above = c * products + n * f_off * y_off
    below = c + (n * f_off * f_off + n * floor * max(abs(v) for v in f) ** 2) / squares
    if below >= Fraction(1, 2):
        return None  # The curve is constant to within its rounding: nothing can be promised.
    a_bound = 2 * (above / squares + abs(a) * below) + 2 * step
    b_bound = a_bound * f_size * 2 + c * (y_size + abs(a) * f_size) + 2 * step
    return a_bound, b_bound


# --------------------------------------------------------------------------- Criterion


def residuals(y, f, transform, a, b):
    """R = y - (a·f + b), rounded after the product and the sum (method.md, "Transform")."""
    if transform == "none":
        return y - f
    product = a * f
    return y - (product + b)


def sse_of(r):
    """Σr² with the bits of the original's expression (method.md, "Criterion" and "Ranking")."""
    return float(np.sum(r**2))


def mae_of(r):
    """Σ|r|/n (method.md, "Criterion" and "Ranking")."""
    return float(np.sum(np.abs(r)) / len(r))


def max_of(r):
    """max|r| (method.md, "Criterion")."""
    return float(np.max(np.abs(r)))


def power_of(values):
    """Power of two that is factored out of numbers by their largest (method.md, "Transform")."""
    exponent = math.frexp(float(np.max(np.abs(values))))[1]
    return exponent - max(-400, min(400, exponent))


def square_sum(r):
    """Σr² and the power of two factored out of r (method.md, "Criterion", In float64)."""
    power = power_of(r)
    return np.sum(np.ldexp(r, -power) ** 2), power


def rmse_of(r):
    """√(Σr²/n) (method.md, "Criterion")."""
    squares, power = square_sum(r)
    return float(np.ldexp(np.sqrt(squares / len(r)), power))


def mae_held(r):
    """Σ|r|/n, though the sum overflows (method.md, "Criterion", In float64)."""
    plain = mae_of(r)
    if math.isfinite(plain):
        return plain
    power = power_of(r)
    return float(np.ldexp(np.sum(np.abs(np.ldexp(r, -power))) / len(r), power))


def r2_of(y, r):
    """1 - Σr²/Σ(y - ȳ)², None where max(y) = min(y) (method.md, "Criterion")."""
    if max(y) == min(y):
        return None
    squares, power = square_sum(r)
    y_power = power_of(y)
    y = np.ldexp(y, -y_power)
    around = y - np.sum(y) / len(y)
    return float(1 - np.ldexp(squares / np.sum(around**2), 2 * (power - y_power)))


def score_of(r, options):
    """Compute what is ranked: sse, sse/n when few pairs will do, mae, max (method.md, "Gaps")."""
    if options.criterion == "mae":
        return mae_of(r)
    if options.criterion == "max":
        return max_of(r)
    return sse_of(r) / len(r) if options.min_overlap < 1 else sse_of(r)


def held(value):
    """Keep a statistic, None where float64 cannot hold it (method.md, "Ranking", last but one)."""
    return value if value is not None and math.isfinite(value) else None


def judge(y, f, options, a, b):
    """Compute all figures of one pair, given its member of the family (method.md, "Criterion")."""
    with np.errstate(all="ignore"):
        r = residuals(y, f, options.transform, a, b)
        sse = sse_of(r)
        return {
            "score": score_of(r, options),
            "sse": held(sse),
            "rmse": held(rmse_of(r)),
            "mae": held(mae_held(r)),
            "max_deviation": held(max_of(r)),
            "r2": held(r2_of(y, r)),
            "n": len(r),
            "correlation": held(correlation_of(y, f)),
            "cosine": held(cosine_of(y, f)),
        }


# --------------------------------------------------------------------------- Likeness


def products_of(y, f):
    """Σyf and a power of two, once more from digits where terms may be lost ("Transform")."""
    total = np.sum(y * f)
    if abs(total) >= 2.0**-900:
        return total, 0
    (y_digits, y_powers), (f_digits, f_powers) = np.frexp(y), np.frexp(f)
    digits, powers = y_digits * f_digits, y_powers + f_powers
    top = max([int(p) for p, d in zip(powers, digits, strict=True) if d != 0], default=0)
    return np.sum(np.ldexp(digits, powers - top)), top


def quotient_of(y, f):
    """Σyf / (√Σy² · √Σf²), at most 1 (method.md, "Likeness")."""
    total, power = products_of(y, f)
    share = float(np.ldexp(total / (np.sqrt(np.sum(y * y)) * np.sqrt(np.sum(f * f))), power))
    return share if math.isnan(share) else max(-1.0, min(1.0, share)) + 0.0


def centred(values):
    """Take the mean away, and then what its rounding has left (method.md, "Likeness")."""
    values = values - np.sum(values) / len(values)
    return values - np.sum(values) / len(values)


def correlation_of(y, f):
    """Pearson's correlation, None where a curve is constant (method.md, "Likeness")."""
    if max(y) == min(y) or max(f) == min(f):
        return None
    return quotient_of(centred(np.ldexp(y, -power_of(y))), centred(np.ldexp(f, -power_of(f))))


def cosine_of(y, f):
    """Cosine of two curves, None where one is 0 everywhere (method.md, "Likeness")."""
    if not np.any(y) or not np.any(f):
        return None
    return quotient_of(np.ldexp(y, -power_of(y)), np.ldexp(f, -power_of(f)))


def margin_of(score, following):
    """Distance of the next score, None without a finite one (method.md, "Likeness")."""
    if following is None or not math.isfinite(following):
        return None
    return 0.0 if following == score else (following - score) / following


# --------------------------------------------------------------------------- Doubts


def is_degenerate(f, whole, transform, a):
    """Tell whether a scale is 0 or fitted to next to nothing (method.md, "Doubts")."""
    if transform not in ("scale", "affine"):
        return False
    power = power_of(whole)
    f, whole = np.ldexp(f, -power), np.ldexp(whole, -power)
    if transform == "scale":
        part, all_of_it = max(abs(f)), max(abs(whole))
    else:
        part, all_of_it = max(f) - min(f), max(whole) - min(whole)
    return a == 0 or part <= 1e-6 * all_of_it


def decides(values):
    """Tell whether one value holds over 90 % of the squares (method.md, "Doubts")."""
    squares = np.ldexp(values, -power_of(values)) ** 2
    return max(squares) > 0.9 * np.sum(squares)


def one_point_decides(y, r):
    """Tell whether one pair decides (method.md, "Doubts")."""
    power = power_of(y)
    spread = np.ldexp(y, -power)
    if max(y) > min(y):
        around = centred(spread) ** 2
        if max(around) > 0.9 * np.sum(around):
            return True
    residual, rounding = max(abs(np.ldexp(r, -power))), max(abs(spread)) * 2.0**-40
    return bool(residual > rounding and decides(r))


def warnings_of(pair, curves, options, one):
    """List the warnings of a match but for `tied`; `curves` have gaps (method.md, "Doubts")."""
    y, f = pair
    whole = curves[1][~np.isnan(curves[1])]
    size = np.count_nonzero(~np.isnan(curves[0]))
    with np.errstate(all="ignore"):
        r = residuals(y, f, options.transform, one["scale"], one["offset"])
        parameters = {"none": 0, "offset": 1, "scale": 1, "affine": 2}[options.transform]
        doubts = {
            "few_pairs": len(y) <= parameters + 1 or 2 * len(y) < size,
            "degenerate_scale": is_degenerate(f, whole, options.transform, one["scale"]),
            "constant_curve": max(y) == min(y) or max(f) == min(f),
            "inverted": one["scale"] < 0,
            "worse_than_mean": max(y) > min(y) and r2_of(y, r) < 0,
            "one_point_decides": one_point_decides(y, r),
        }
    return tuple(word for word, holds in doubts.items() if holds)


# --------------------------------------------------------------------------- Ranking


def ranking_key(score, ideal_index):
    """Finite first, by score, then by the library's order (method.md, "Ranking")."""
    if not math.isfinite(score):
        return (1, 0.0, ideal_index)
    return (0, score, ideal_index)


def fit(training, training_indices, library, library_indices, options):
    """Every training curve with its best curves (method.md, from "Pair" to "Ranking")."""
    where = places(training.x, library.x, options)
    outside = outside_rows(where, training.y)
    if outside and options.outside == "reject":
        raise NotCovered(outside)
    matches, without = [], []
    for t in range(len(training.y)):
        judged = []
        for j in range(len(library.y)):
            one = _judge_curve(where, training.y[t], library.y[j], options)
            if one is not None:
                judged.append((ranking_key(one["score"], library_indices[j]), one))
        if not judged:
            without.append(training.names[t])
        judged.sort(key=lambda pair: pair[0])
        for rank, (key, one) in enumerate(judged[: options.top_k], start=1):
            following = judged[rank][1]["score"] if rank < len(judged) else None
            margin = margin_of(one["score"], following)
            words = ("tied",) * (margin == 0) + one.pop("warnings")
            one |= {"margin": margin, "warnings": words}
            matches.append(Match(training_indices[t], rank, key[-1], **one))
    if without:
        raise NoCurve(without)
    return matches


def _judge_curve(where, y_row, curve, options):
    y, f = pairs(where, y_row, curve)
    if len(y) == 0 or not eligible(len(y), needed(where, y_row), options.min_overlap):
        return None
    with np.errstate(all="ignore"):
        a, b = member(options.transform, y, f, options.sign)
    one = judge(y, f, options, a, b) | {"scale": a, "offset": b}
    return one | {"warnings": warnings_of((y, f), (y_row, curve), options, one)}


# --------------------------------------------------------------------------- Mapping


def limit_of(max_deviation, tolerance_factor):
    """Compute the largest deviation that is admitted (method.md, "Mapping")."""
    return max_deviation * tolerance_factor


def assign(test, grid, functions, options):
    """List every test point with what admits it, or why nothing does (method.md, "Mapping")."""
    where = places(np.where(np.isnan(test.x), grid[0], test.x), grid, options)
    items = []
    for row in range(len(test.x)):
        for column in range(len(test.y)):
            x, y = float(test.x[row]), float(test.y[column][row])
            for function, reason, deviation in _judge_point(x, y, where[row], functions, options):
                items.append(Item(row, column, function, reason, x, y, deviation))
    return items


def _judge_point(x, y, place, functions, options):
    if math.isnan(x) or math.isnan(y):
        return [(-1, "missing_value", None)]
    covering = [] if place is None else deviations(place, y, functions)
    if not covering:
        return [(-1, "x_not_covered", None)]
    admitted = [(k, None, d) for k, d in covering if d <= float(functions.limit[k])]
    if not admitted:
        return [(-1, "deviation", None)]
    if options.policy == "all":
        return admitted
    if options.policy == "first":
        return admitted[:1]
    return [min(admitted, key=lambda one: (one[2], one[0]))]


def deviations(place, y, functions):
    """List |y - g(x)| of the functions that cover x, by position (method.md, "Mapping")."""
    covering = []
    for k in range(len(functions.curves)):
        f = value_at(place, functions.curves[k])
        if f is not None:
            product = float(functions.scale[k]) * f
            covering.append((k, abs(y - (product + float(functions.offset[k])))))
    return covering
