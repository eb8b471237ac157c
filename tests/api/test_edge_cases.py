"""Edge cases of the contract: the last byte, the last column, a cursor of another list."""

from __future__ import annotations

import errno

import pytest

from api.app import create_app
from api.config import Settings
from api.limits import Limits
from api.running import running

CSV = {"content_type": "text/csv"}


@pytest.fixture
def small(database_url, tmp_path):
    """A client of an application that takes bodies of 20 bytes."""
    settings = Settings(data=tmp_path, database_url=database_url, limits=Limits(body_bytes=20))
    app = create_app(settings)
    yield app.test_client()
    running(app).database.close()


def a_dataset(client, body="x,y\n0,1\n1,2\n", name="d"):
    reply = client.post(f"/v1/datasets?name={name}", data=body, **CSV)
    assert reply.status_code == 201, reply.text
    return reply.json


@pytest.mark.parametrize(("size", "status"), [(19, 201), (20, 201), (21, 413)])
def test_a_body_may_be_as_long_as_the_limit_says(small, size, status):
    body = "x,y\n0,1\n".ljust(size, "\n")
    assert small.post("/v1/datasets?name=d", data=body, **CSV).status_code == status


@pytest.mark.parametrize("content_type", ["text/csv", "application/json"])
def test_appended_curves_find_the_x_column_of_the_dataset(client, content_type):
    dataset = a_dataset(client, "time,v\n0,1\n1,2\n")
    path = f"/v1/datasets/{dataset['id']}/curves"
    bodies = {
        "text/csv": "x,time\n5,0\n6,1\n",
        "application/json": '{"columns": {"x": [5, 6], "time": [0, 1]}}',
    }
    reply = client.post(path, data=bodies[content_type], content_type=content_type)
    assert reply.status_code == 200, reply.text
    assert [curve["name"] for curve in client.get(path).json["items"]] == ["v", "x"]


def test_a_cursor_of_another_order_is_refused(client):
    for name in ("a", "b", "c"):
        a_dataset(client, name=name)
    cursor = client.get("/v1/datasets?limit=1").json["next"]
    assert client.get(f"/v1/datasets?limit=1&cursor={cursor}").status_code == 200
    for sort in ("created_at", "name", "-name"):
        reply = client.get(f"/v1/datasets?limit=1&sort={sort}&cursor={cursor}")
        assert reply.status_code == 422
        assert reply.json["errors"][0]["parameter"] == "cursor"


def test_a_refusal_by_accept_says_that_it_depends_on_it(client):
    reply = client.get("/v1/datasets", headers={"Accept": "image/png"})
    assert reply.status_code == 406
    assert "Accept" in reply.headers["Vary"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_a_temporary_file_is_said_to_be_that(app, client, monkeypatch, code):
    def full(**_):
        raise OSError(code, "No room")

    monkeypatch.setitem(app.view_functions, "datasets.list_datasets", full)
    reply = client.get("/v1/datasets")
    assert (reply.status_code, reply.json["title"]) == (507, "Insufficient Storage")
    assert "temporary files" in reply.json["detail"]
