"""Reference implementation of the steps: one curve at a time, in plain loops, from docs/method.md.

Floats are Python's, which round after every operation. A gap is None. NumPy appears only where
method.md defines bits by ``np.sum``. Powers of two are left out: they change no bit of ordinary
curves.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np

DIGITS = Context(prec=50)


class Fails(Exception):  # noqa: N818 - named for what it is
    """A curve that the step cannot treat."""


def np_sum(values):
    return float(np.sum(np.array(values, dtype=np.float64)))


def regions(x, y, use=None, exclude=None):
    def inside(one):
        return any(min(ends) <= one <= max(ends) for ends in use or exclude)

    kept = [i for i, one in enumerate(x) if inside(one) == (use is not None)]
    return [x[i] for i in kept], [y[i] for i in kept]


def resample(x, y, start, stop, step):
    grid = [start + k * step for k in range(math.floor((stop - start) / step + 1e-6) + 1)]
    return grid, [read(x, y, one) for one in grid]


def read(x, y, at):
    if at in x:
        return y[x.index(at)]
    for x0, x1, y0, y1 in zip(x, x[1:], y, y[1:], strict=False):
        if x0 < at < x1:
            return None if None in {y0, y1} else y0 + (y1 - y0) * (at - x0) / (x1 - x0)
    return None


def solve(matrix, right, zero):
    """Solve a system by elimination, in the arithmetic of its numbers."""
    n = len(matrix)
    rows = [[*line, value] for line, value in zip(matrix, right, strict=True)]
    for i in range(n):
        best = max(range(i, n), key=lambda r: abs(rows[r][i]))
        rows[i], rows[best] = rows[best], rows[i]
        for r in range(i + 1, n):
            factor = rows[r][i] / rows[i][i]
            if factor != zero:
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[i], strict=True)]
    found = [zero] * n
    for i in reversed(range(n)):
        rest = sum((rows[i][j] * found[j] for j in range(i + 1, n)), zero)
        found[i] = (rows[i][n] - rest) / rows[i][i]
    return found


def exact_weights(window, degree, order, place):
    """Weights of the order-th derivative at one point, by the normal equations."""
    points = [Fraction(j - place) for j in range(window)]
    powers = range(degree + 1)
    gram = [[sum(t ** (a + b) for t in points) for b in powers] for a in powers]
    unit = [Fraction(math.factorial(order) if a == order else 0) for a in powers]
    solution = solve(gram, unit, Fraction(0))
    return [float(sum(c * t**a for a, c in enumerate(solution))) for t in points]


def runs_of(y):
    runs, start = [], None
    for i, one in enumerate([*y, None]):
        if one is None and start is not None:
            runs.append((start, i))
            start = None
        elif one is not None and start is None:
            start = i
    return runs


def filtered(y, window, degree, order):
    """Numbers and weighted sums at each point, None in short runs."""
    found = [None] * len(y)
    half = window // 2
    for a, b in runs_of(y):
        if b - a < window:
            continue
        for i in range(a, b):
            first = min(max(i - half, a), b - window)
            total = 0.0
            weights = exact_weights(window, degree, order, i - first)
            for j, weight in enumerate(weights):
                total = total + weight * (y[first + j] - y[i])
            found[i] = (y[i], total)
    return found


def smooth(x, y, window, degree):
    found = filtered(y, window, degree, 0)
    return x, [None if one is None else one[0] + one[1] for one in found]


def derivative(x, y, *, order, window=None, degree=None, per="x"):
    if window is None:
        for _ in range(order):
            steps = list(zip(x, x[1:], y, y[1:], strict=False))
            y = [
                None if None in {y0, y1} else (y1 - y0) if per == "row" else (y1 - y0) / (x1 - x0)
                for x0, x1, y0, y1 in steps
            ]
            x = [0.5 * x0 + 0.5 * x1 for x0, x1, _, _ in steps]
        return x, y
    h = (x[-1] - x[0]) / (len(x) - 1)
    divisor = 1.0 if per == "row" else h if order == 1 else h * h
    found = filtered(y, window, degree, order)
    return x, [None if one is None else one[1] / divisor for one in found]


def on_numbers(x, y, least, compute):
    at = [i for i, one in enumerate(y) if one is not None]
    if len(at) < least:
        raise Fails
    values = compute([x[i] for i in at], [y[i] for i in at], at)
    result = list(y)
    for i, value in zip(at, values, strict=True):
        result[i] = value
    return x, result


def baseline(x, y, degree):
    def remove(x, y, _):
        low, high = x[0], x[-1]
        u = [((one - low) - (high - one)) / (high - low) for one in x]
        basis = [[1.0] * len(x)]
        for k in range(1, degree + 1):
            p = [a * b for a, b in zip(u, basis[-1], strict=True)]
            for _ in range(2):
                for j in range(k):
                    p = less(p, basis[j])
            basis.append(p)
        rest = [one - y[0] for one in y]
        for _ in range(2):
            for p in basis:
                rest = less(rest, p)
        return rest

    def less(r, p):
        share = np_sum([a * b for a, b in zip(r, p, strict=True)]) / np_sum([a * a for a in p])
        return [a - share * b for a, b in zip(r, p, strict=True)]

    return on_numbers(x, y, degree + 2, remove)


def exact_baseline(x, y, degree):
    """Compute what is left of a complete curve in rational arithmetic."""
    low, high = Fraction(x[0]), Fraction(x[-1])
    u = [(2 * Fraction(one) - low - high) / (high - low) for one in x]
    powers = range(degree + 1)
    gram = [[sum(t ** (a + b) for t in u) for b in powers] for a in powers]
    right = [sum(t**a * Fraction(v) for t, v in zip(u, y, strict=True)) for a in powers]
    solution = solve(gram, right, Fraction(0))
    return [
        float(Fraction(v) - sum(c * t**a for a, c in enumerate(solution)))
        for t, v in zip(u, y, strict=True)
    ]


def asls(x, y, smoothness, asymmetry):
    numbers = [one is not None for one in y]
    if sum(numbers) < 3:
        raise Fails
    first = next(one for one in y if one is not None)
    d = [0.0 if one is None else one - first for one in y]
    w = [1.0 if one else 0.0 for one in numbers]
    for _ in range(50):
        z = asls_line(d, w, smoothness)
        following = [
            0.0 if not number else asymmetry if one > line else 1 - asymmetry
            for number, one, line in zip(numbers, d, z, strict=True)
        ]
        if following == w:
            break
        w = following
    rest = [one - line for one, line in zip(d, z, strict=True)]
    return x, [one if number else None for number, one in zip(numbers, rest, strict=True)]


def asls_line(d, w, s):
    n = len(d)
    factors = factor(w, s)
    z = substitute([a * b for a, b in zip(w, d, strict=True)], *factors)
    g = [(z[i] - 2 * z[i + 1]) + z[i + 2] for i in range(n - 2)]
    g = [0.0, 0.0, *g, 0.0, 0.0]
    q = [(g[i + 2] - 2 * g[i + 1]) + g[i] for i in range(n)]
    more = substitute([w[i] * (d[i] - z[i]) - s * q[i] for i in range(n)], *factors)
    return [a + b for a, b in zip(z, more, strict=True)]


def factor(w, s):
    n = len(w)
    diagonal = [1.0, 5.0, *[6.0] * (n - 4), 5.0, 1.0]
    beside = [-2.0, *[-4.0] * (n - 3), -2.0]
    near, far, pivot = [0.0] * n, [0.0] * n, [0.0] * n
    for i in range(n):
        a = w[i] + s * diagonal[i]
        t = s * beside[i - 1] if i > 0 else 0.0
        if i > 1:
            t = t - s * near[i - 1]
            far[i] = s / pivot[i - 2]
            a = a - s * far[i]
        if i > 0:
            near[i] = t / pivot[i - 1]
            a = a - t * near[i]
        pivot[i] = a
    return near, far, pivot


def substitute(b, near, far, pivot):
    n = len(b)
    v = []
    for i in range(n):
        one = b[i]
        if i > 0:
            one = one - near[i] * v[i - 1]
        if i > 1:
            one = one - far[i] * v[i - 2]
        v.append(one)
    z = [0.0] * n
    for i in reversed(range(n)):
        one = v[i] / pivot[i]
        if i < n - 1:
            one = one - near[i + 1] * z[i + 1]
        if i < n - 2:
            one = one - far[i + 2] * z[i + 2]
        z[i] = one
    return z


def exact_asls(y, smoothness, asymmetry):
    """Compute what is left of a curve by a dense system of decimals with 50 digits."""
    n = len(y)
    second = [[0] * i + [1, -2, 1] + [0] * (n - 3 - i) for i in range(n - 2)]
    penalty = [
        [Decimal(smoothness) * sum(row[a] * row[b] for row in second) for b in range(n)]
        for a in range(n)
    ]
    numbers = [one is not None for one in y]
    values = [Decimal(one or 0.0) for one in y]
    w = [Decimal(int(one)) for one in numbers]
    high, low = Decimal(1 - asymmetry), Decimal(asymmetry)
    for _ in range(50):
        matrix = [[penalty[a][b] + (w[a] if a == b else 0) for b in range(n)] for a in range(n)]
        z = solve(matrix, [a * b for a, b in zip(w, values, strict=True)], Decimal(0))
        following = [
            Decimal(0) if not numbers[i] else low if values[i] > z[i] else high for i in range(n)
        ]
        if following == w:
            break
        w = following
    return [float(values[i] - z[i]) if numbers[i] else None for i in range(n)]


def absolute(x, y):
    return x, [None if one is None else abs(one) for one in y]


def normalize(x, y, method):
    def divide(x, y, at):
        n = len(y)
        if method == "snv":
            mean = np_sum(y) / n
            above = [one - mean for one in y]
            if max(y) == min(y):
                raise Fails
            size = math.sqrt(np_sum([one * one for one in above]) / (n - 1))
        elif method == "unit":
            above, size = y, math.sqrt(np_sum([one * one for one in y]))
        elif method == "minmax":
            above, size = [one - min(y) for one in y], max(y) - min(y)
        elif method == "max":
            above, size = y, max(map(abs, y))
        else:
            size = np_sum(
                [
                    0.5 * (abs(y[i]) + abs(y[i + 1])) * (x[i + 1] - x[i])
                    for i in range(n - 1)
                    if at[i + 1] == at[i] + 1
                ]
            )
            above = y
        if size == 0:
            raise Fails
        return [one / size for one in above]

    return on_numbers(x, y, 1, divide)


def log10(value):
    return float(DIGITS.log10(Decimal(value)))


def power_of_10(value):
    return float(DIGITS.power(Decimal(10), Decimal(value)))
