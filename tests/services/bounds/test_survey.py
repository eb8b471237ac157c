"""A survey of sketches proposes every pair that could be among the best, or leaves its curve."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bounds import survey
from services.bounds.product import make_complete_side, make_library_side
from services.bounds.propose import Task
from services.bounds.sketch import Basis, make_basis
from services.bounds.survey import propose_by_survey
from services.scoring.options import FitOptions
from services.scoring.scores import score_pairs
from tests.examples import examples

N = 90


class Library:
    """Library sides in pieces, made anew each time; `made` counts them."""

    def __init__(self, f, cuts, basis, transform):
        edges = [0, *cuts, len(f)]
        self._parts = [f[i:j] for i, j in pairwise(edges)]
        self._how = basis, transform
        self.counts = [len(part) for part in self._parts]
        self.made = 0

    def get(self, number):
        self.made += 1
        return make_library_side(self._parts[number], *self._how)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Chunks of few curves, so that small libraries have many."""
    monkeypatch.setattr(survey, "LEAST_CHUNK", 3)
    monkeypatch.setattr(survey, "SURVEYED", 16)


def curves(random, kind, m):
    """Library curves, of which some are equal."""
    if kind == "noise":
        f = random.normal(size=(m, N))
    else:
        f = random.normal(size=(m, 6)) @ np.sin(np.outer(np.arange(1, 7), np.linspace(0, 6, N)))
    f[m // 2] = f[m // 3]
    return f


def propose(y, f, options, cuts=(), reports=None):
    basis = make_basis(f, n_vectors=16, largest_rest_share=np.inf)
    if basis is None:
        vectors, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(N, 12)))
        basis = Basis(N, 0, 0.0, vectors)
    library = Library(f, cuts, basis, options.transform)
    scores = score_pairs(y, f, options)
    task = Task(
        np.full(len(y), np.inf), options.top_k, 1.0, lambda pairs: scores[pairs.rows, pairs.columns]
    )
    report = (reports if reports is not None else []).append
    found = propose_by_survey(make_complete_side(y, basis, options), library, task, report)
    return found, scores, library


@given(st.data())
@examples(60)
def test_no_pair_that_could_be_among_the_best_is_missed(data):
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    m, k = data.draw(st.sampled_from([20, 150, 400])), data.draw(st.sampled_from([1, 3, 40]))
    f = curves(random, data.draw(st.sampled_from(["noise", "waves"])), m)
    near = data.draw(st.sampled_from([0.0, 1e-9, 0.05, 0.5, 5.0]))
    y = f[random.integers(0, m, k)] * data.draw(st.sampled_from([1.0, -1.0]))
    y = y + near * random.normal(size=(k, N))
    far = random.random(k) < data.draw(st.sampled_from([0, 0.3, 1]))
    y[far] = random.normal(size=(np.count_nonzero(far), N))
    f[:: data.draw(st.sampled_from([50, 10_000]))][1:] *= 1e200
    f[data.draw(st.integers(0, m - 1)), 3] = np.nan
    options = FitOptions(
        transform=data.draw(st.sampled_from(["none", "offset", "scale", "affine"])),
        top_k=data.draw(st.sampled_from([1, 2, 7])),
        sign=data.draw(st.sampled_from(["any", "positive"])),
    )
    cuts = sorted(data.draw(st.sets(st.integers(1, m - 1), max_size=4)))
    with np.errstate(all="ignore"):
        found, scores, _ = propose(y, f, options, cuts)
    known = np.setdiff1d(np.arange(m), found.unknown)
    proposed = set(zip(found.scored.rows.tolist(), found.scored.columns.tolist(), strict=True))
    for row in np.setdiff1d(np.arange(k), found.left).tolist():
        mine = np.where(np.isfinite(scores[row]), scores[row], np.inf)
        assert found.limits[row] >= np.sort(mine)[options.top_k - 1]
        kth = np.sort(mine[known])[options.top_k - 1]
        assert {(row, int(j)) for j in known if mine[j] <= kth} <= proposed
    assert not np.isin(found.scored.rows, found.left).any()
    rows, columns, score = found.scored
    assert np.array_equal(score, scores[rows, columns], equal_nan=True)


def test_curves_near_a_library_of_noise_are_found_by_few_scores():
    random = np.random.default_rng(3)
    f = curves(random, "noise", 3000)
    y = f[[5, 1500, 2999]] + 0.05 * random.normal(size=(3, N))
    found, _, _ = propose(y, f, FitOptions(), (1000,))
    assert found.left.size == 0
    # The one in the middle is there twice.
    assert found.scored.columns.tolist() == [5, 1000, 1500, 2999]


def test_curves_unlike_the_library_are_left_and_the_others_are_not():
    random = np.random.default_rng(3)
    f = curves(random, "noise", 3000)
    y = random.normal(size=(10, N))
    y[[2, 7]] = f[[8, 9]]
    found, _, _ = propose(y, f, FitOptions())
    assert found.left.tolist() == [0, 1, 3, 4, 5, 6, 8, 9]
    assert found.scored.columns.tolist() == [8, 9]


def test_few_of_many_training_curves_are_asked_whether_sketches_help():
    random = np.random.default_rng(3)
    f, reports = curves(random, "noise", 3000), []
    found, _, library = propose(
        random.normal(size=(100, N)), f, FitOptions(), (1000, 2000), reports
    )
    assert found.left.size == 100
    # The whole survey did not even begin.
    assert (library.made, reports) == (3, [])


def test_the_second_pass_gets_only_pieces_that_matter():
    random = np.random.default_rng(3)
    f, reports = curves(random, "waves", 4000), []
    _, _, library = propose(f[[3500]], f, FitOptions(), range(500, 4000, 500), reports)
    assert library.made == 8 + 1
    assert reports == sorted(reports)
    assert reports[-1] == 1


def test_a_library_with_many_curves_that_no_sketch_describes_is_left():
    f = curves(np.random.default_rng(3), "waves", 3000)
    f[::20, 4] = np.nan
    found, _, _ = propose(f[[5]], f, FitOptions())
    assert found.left.tolist() == [0]


def test_more_places_than_chunks_are_left():
    f = curves(np.random.default_rng(3), "waves", 40)
    found, _, _ = propose(f[[5]], f, FitOptions(top_k=30))
    assert found.left.tolist() == [0]
