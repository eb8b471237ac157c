"""Sketches exist from the right size on, and change no answer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sqlalchemy import delete, func, select, text

from api.jobs.kinds import FITS
from api.jobs.rankers import LocalRanker
from api.jobs.run import submit
from api.schemas.fits import FitRequest
from api.store import blocks, sketches
from api.store.base import find_version
from api.store.blocks import CurveBlock, CurveReader
from api.store.datasets import (
    Dataset,
    add_dataset,
    append_curves,
    read_curve_names,
    read_datasets,
)
from api.store.fits import read_chosen
from api.store.migrate import migrate
from api.store.selections import Selection, open_library, read_table
from api.store.sketches import SketchBasis, SketchBlock, read_basis
from services.bounds.sketch import make_sketch
from services.files import Source
from services.fitting.blocks import Library
from services.fitting.cache import Cache
from services.scoring.options import FitOptions
from services.tables import Table
from tests import naive
from tests.factories import fit_blocks, fit_library, in_blocks

SOURCE = Source("json", None, None, None, None)
POINTS = 80


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Sketches for datasets that are quickly made."""
    monkeypatch.setattr(sketches, "SKETCHED", 100)
    monkeypatch.setattr(sketches, "PIECE", 150)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 8 * POINTS * 40)


def smooth(count, seed=1, points=POINTS):
    """Sums of few waves, some twice, one with a gap, one that no sketch can describe."""
    random = np.random.default_rng(seed)
    x = np.linspace(0, 6, points)
    waves = np.array([np.sin(j * x) for j in range(1, 7)] + [np.cos(j * x) for j in range(6)])
    y = random.normal(size=(count, len(waves))) @ waves
    y[count // 2] = y[count // 3]
    y[count // 5, 7] = np.nan
    y[count // 7] *= 1e200
    return y


def with_gaps(count):
    """Curves none of which is complete."""
    y = smooth(count)
    y[:, 5] = np.nan
    return y


def a_table(y, prefix="f"):
    return Table(np.arange(y.shape[1]) / 4, y, tuple(f"{prefix}{i}" for i in range(len(y))))


def stored(database, y, name="library"):
    with database.writing() as session:
        return add_dataset(session, a_table(y), SOURCE, name=name).id


def appended(database, dataset_id, y, prefix):
    with database.writing() as session:
        dataset = find_version(session, Dataset, dataset_id, None)
        append_curves(session, dataset, a_table(y, prefix))


def sketched(database, dataset_id):
    """Curves of each sketch that a fit reads; None without a basis."""
    with database.reading() as session:
        [(dataset, x)] = read_datasets(session, dataset_id).values()
        sketches = open_library(session, Selection(dataset, x, dataset.n_curves)).sketches
        if sketches is None:
            return None
        for number, places in enumerate(sketches.places):
            assert len(sketches.read(number).mean) == len(places)
        return [places.tolist() for places in sketches.places]


def test_a_large_smooth_dataset_has_sketches_of_all_its_curves(database):
    dataset_id = stored(database, smooth(420))
    assert list(itertools.chain(*sketched(database, dataset_id))) == list(range(420))
    assert [len(piece) for piece in sketched(database, dataset_id)] == [160, 160, 100]


def test_a_small_dataset_and_one_of_gaps_have_none(database):
    assert sketched(database, stored(database, smooth(99))) is None
    assert sketched(database, stored(database, with_gaps(420))) is None


def test_noise_has_sketches_too(database):
    noise = np.random.default_rng(1).normal(size=(420, POINTS))
    assert list(itertools.chain(*sketched(database, stored(database, noise)))) == list(range(420))


def test_stored_sketches_are_those_of_the_curves(database):
    y = smooth(300)
    dataset_id = stored(database, y)
    with database.reading() as session:
        [(dataset, x)] = read_datasets(session, dataset_id).values()
        sketches = open_library(session, Selection(dataset, x, 300)).sketches
        for number, places in enumerate(sketches.places):
            fresh = make_sketch(places, y[places], sketches.basis)
            assert sketches.read(number).to_bytes() == fresh.to_bytes()


def test_appended_curves_get_sketches_by_the_same_basis(database):
    dataset_id = stored(database, smooth(120))
    with database.reading() as session:
        before = read_basis(session.connection(), dataset_id, 120).digest
    appended(database, dataset_id, smooth(50, seed=2), "g")
    appended(database, dataset_id, smooth(40, seed=3), "h")
    with database.reading() as session:
        assert read_basis(session.connection(), dataset_id, 120).digest == before
    assert list(itertools.chain(*sketched(database, dataset_id))) == list(range(210))


def test_a_dataset_that_grows_large_gets_sketches_of_all_its_curves(database):
    dataset_id = stored(database, smooth(60))
    appended(database, dataset_id, smooth(39, seed=2), "g")
    assert sketched(database, dataset_id) is None
    appended(database, dataset_id, smooth(50, seed=3), "h")
    assert list(itertools.chain(*sketched(database, dataset_id))) == list(range(149))


def test_where_no_basis_was_found_it_is_tried_again_after_doubling(database):
    dataset_id = stored(database, with_gaps(150))
    appended(database, dataset_id, smooth(49, seed=2), "g")
    assert sketched(database, dataset_id) is None
    appended(database, dataset_id, smooth(300, seed=3), "h")
    assert list(itertools.chain(*sketched(database, dataset_id))) == list(range(499))


def test_a_deleted_dataset_leaves_no_sketch(database):
    dataset_id = stored(database, smooth(200))
    with database.writing() as session:
        session.delete(find_version(session, Dataset, dataset_id, None))
    with database.reading() as session:
        for model in (SketchBasis, SketchBlock, CurveBlock):
            assert session.scalar(select(func.count()).select_from(model)) == 0


def test_libraries_stored_before_get_sketches_by_the_migration(database):
    large, small = stored(database, smooth(300)), stored(database, smooth(50))
    expected = sketched(database, large)
    with database.writing() as session:
        session.execute(delete(SketchBasis))
        session.execute(delete(SketchBlock))
    migrate(database, "0007")
    with database.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM sketch_bases")) == 0
    migrate(database)
    assert sketched(database, large) == expected
    assert sketched(database, small) is None


OPTIONS = [
    FitOptions(),
    FitOptions(top_k=7),
    FitOptions("mae", "offset"),
    FitOptions("max", "scale", top_k=3),
    FitOptions("sse", "affine"),
    FitOptions(min_overlap=0.5, top_k=2),
]


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_no_answer_depends_on_how_the_library_is_read(database, options):
    """Sketches or none, cold or warm, any block, any thread, and the slow oracle agree."""
    y = smooth(420)
    random = np.random.default_rng(5)
    training = np.concatenate([y[[3, 210, 61]] + random.normal(size=(3, POINTS)) / 9, y[[140]]])
    table = a_table(training, "y")
    dataset_id = stored(database, y)
    cache, places = Cache(1 << 24), np.arange(len(training))
    answers = []
    for _ in range(2):
        with database.reading() as session:
            [(dataset, x)] = read_datasets(session, dataset_id).values()
            library = open_library(session, Selection(dataset, x, 420))
            assert library.sketches is not None
            answers.append(fit_library(table, places, library, options, cache))
        with database.reading() as session:
            plain = open_library(session, Selection(dataset, x, 420, np.arange(420)))
            assert plain.sketches is None
            answers.append(fit_library(table, places, plain, options, cache))
    whole = a_table(y)
    for cuts in ((), (1, 7, 300), tuple(range(50, 420, 50))):
        shuffled = list(in_blocks(whole, cuts))[::-1]
        answers.append(fit_library(table, places, Library(whole.x, shuffled), options))
        answers.append(fit_blocks(table, places, whole.x, in_blocks(whole, cuts), options))
    assert {repr(answer) for answer in answers} == {repr(answers[0])}
    slow = naive.fit(table, places, whole, np.arange(420), options)
    assert [(m.training_index, m.rank, m.ideal_index) for m in answers[0]] == [
        (m.training_index, m.rank, m.ideal_index) for m in slow
    ]


def test_a_fit_through_the_store_is_that_without_sketches(database):
    y = smooth(420)
    ids = {"training_id": stored(database, y[[7, 30]] + 0.01, "training")}
    body = FitRequest().load(ids | {"ideal_id": stored(database, y)})
    cache = Cache(1 << 24)
    fits = [submit(database, FITS, body, ranker=LocalRanker(cache)) for _ in range(2)]
    with database.writing() as session:
        session.execute(delete(SketchBasis))
        session.execute(delete(SketchBlock))
    fits.append(submit(database, FITS, body))
    fields = ("ideal", "score", "sse", "rmse", "mae", "max_deviation", "r2", "n")
    with database.reading() as session:
        found = [
            [[getattr(m, f) for f in fields] for m in read_chosen(session, fit)] for fit in fits
        ]
    assert repr(found[0]) == repr(found[1]) == repr(found[2])
    assert [row[0] for row in found[0]] == ["f7", "f30"]


def test_progress_of_a_sketched_library_ends_at_all_its_curves(database):
    y, seen = smooth(420), []
    body = FitRequest().load(
        {"training_id": stored(database, y[[3]]), "ideal_id": stored(database, y)}
    )
    submit(database, FITS, body, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert len(seen) > 2
    assert seen[-1] == (420, 420)


def test_a_fit_that_sketches_do_not_help_is_queued(database):
    """The estimate assumes that they do; curves unlike the library need all of it."""
    random = np.random.default_rng(5)
    library = stored(database, random.normal(size=(420, POINTS)), "noise")
    near = stored(database, random.normal(size=(30, POINTS)), "unlike")
    body = FitRequest().load({"training_id": near, "ideal_id": library})
    asked = []

    def may_begin(seconds):
        asked.append(seconds)
        return len(asked) < 2

    fit = submit(database, FITS, body, most_seconds=1.0, may_begin=may_begin)
    assert (fit.state, fit.cost) == ("queued", sum(asked))
    ranker = LocalRanker(Cache(1 << 24))
    for _ in range(2):
        asked.clear()
        fit = submit(
            database, FITS, body, may_begin=lambda seconds: not asked.append(seconds), ranker=ranker
        )
        assert fit.state == "succeeded"
    # The second one need not read the library: its descriptions are in the cache.
    assert asked[1] < fit.n_ideal * POINTS * 8 / 3e8


@pytest.mark.parametrize("count", [1, 3, 39, 40])
def test_curves_are_read_by_position_in_any_order(database, count):
    y = smooth(130)
    dataset_id = stored(database, y)
    indices = np.random.default_rng(count).integers(0, 130, count)
    with database.reading() as session:
        reader = CurveReader(session.connection(), dataset_id, POINTS)
        for start, stop in ((0, POINTS), (3, 4), (70, POINTS), (5, 5)):
            got = reader(indices, start, stop)
            assert got.tobytes() == np.ascontiguousarray(y[indices, start:stop]).tobytes()
        assert reader(indices[:0]).shape == (0, POINTS)


def test_names_of_a_large_selection_are_found(database):
    dataset_id = stored(database, smooth(120))
    with database.reading() as session:
        [(dataset, x)] = read_datasets(session, dataset_id).values()
        assert read_curve_names(session, dataset, [119, 0]) == {0: "f0", 119: "f119"}
        table = read_table(session, Selection(dataset, x, 120, np.array([2, 50, 119])))
        assert table.names == ("f2", "f50", "f119")
