"""Plots of long curves: what they show is that of the whole curves, in bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from api.pages.shapes import MAX_DRAWN, prepare_line
from api.resources import plots
from api.running import running
from api.store.datasets import add_dataset
from services.files import Source
from services.tables import Table

SOURCE = Source("parquet", None, None, None, None)
N = 1_500_000
"""Rows of a long dataset: three times what is read at once, with its x."""


@pytest.fixture
def long(app):
    """A long dataset with one curve that has gaps, and its id."""
    rng = np.random.default_rng(5)
    y = rng.normal(size=(1, N)).cumsum(axis=1)
    y[0, rng.integers(0, N, 1000)] = np.nan
    table = Table(np.arange(N) / 1000, y, ("y",))
    with running(app).database.writing() as session:
        dataset_id = add_dataset(session, table, SOURCE, name="long").id
    return table, dataset_id


def test_a_long_dataset_shows_the_same_points_in_bounded_memory(app, long):
    table, dataset_id = long
    with app.app_context():
        tracemalloc.start()
        try:
            scene = plots._read_dataset(dataset_id, 1)  # noqa: SLF001 - its memory is the claim
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    (line,) = scene.lines
    x, y = prepare_line(table.x, table.y[0])
    np.testing.assert_array_equal(line.x, x)
    np.testing.assert_array_equal(line.y, y)
    assert line.size == N
    # The curve and its x are 24 MB; pieces have 4 MiB.
    assert peak < 20_000_000


def test_a_long_fit_is_drawn(client, long):
    _, dataset_id = long
    body = {"training_id": dataset_id, "ideal_id": dataset_id}
    fit = client.post("/v1/fits", json=body, headers={"Prefer": "wait=20"}).json
    assert fit["state"] == "succeeded"
    for kind in ("application/json", "image/svg+xml"):
        reply = client.get(f"/v1/fits/{fit['id']}/plot", headers={"Accept": kind})
        assert reply.status_code == 200
        assert f"more than {MAX_DRAWN:,} points are thinned" in reply.text
        assert len(reply.data) < 1_000_000
