"""The client of a job, among which the queue shares the workers."""

from __future__ import annotations

import pytest

from api.http import jobs
from api.running import running
from api.store.base import find
from api.store.fits import Fit
from tests.calls import LIBRARY, over_wsgi


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_client_is_known_by_its_address(app, address, client):
    with app.test_request_context(environ_base={"REMOTE_ADDR": address}):
        assert jobs.identify_client() == client


def test_the_client_and_the_cost_are_stored_with_the_job(app):
    calls = over_wsgi(app)
    pair = {"training_id": calls.a_dataset()["id"], "ideal_id": calls.a_dataset(LIBRARY)["id"]}
    for headers in ({}, {"Prefer": "respond-async"}):
        record = calls.post("/v1/fits", pair, headers=headers).json
        with running(app).database.reading() as session:
            fit = find(session, Fit, record["id"])
        assert (fit.client, fit.lane) == ("127.0.0.1", "small")
        assert 0 < fit.cost < 1
        assert not {"client", "lane", "cost", "not_before", "setbacks"} & set(record)
