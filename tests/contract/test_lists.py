"""A record in a list leaves out its long fields, and the list does not read them."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from api.app import create_app
from api.config import Settings
from api.running import running
from tests.calls import over_wsgi
from tests.contract.document import DOCUMENT

LEFT_OUT = {"fits": {"matches"}, "mappings": {"functions", "points"}}
SCHEMAS = {"fits": ("FitItem", "FitReply"), "mappings": ("MappingItem", "MappingReply")}
EACH = pytest.mark.parametrize("noun", ["fits", "mappings"])


@EACH
def test_a_record_in_a_list_is_the_record_without_what_it_holds_many_of(calls, some, noun):
    record = calls.get(some.address[noun]).json
    params = {"name": record["name"], "limit": 500}
    items = calls.get(f"/v1/{noun}", params=params).json["items"]
    (item,) = [item for item in items if item["id"] == record["id"]]
    assert item == {name: record[name] for name in record if name not in LEFT_OUT[noun]}
    assert record.keys() - item.keys() == LEFT_OUT[noun]


def test_a_dataset_in_a_list_is_its_record(calls, some):
    items = calls.get("/v1/datasets", params={"name": some.dataset["name"], "limit": 500}).json
    assert some.dataset in items["items"]


@EACH
def test_the_document_has_a_schema_for_it(noun):
    item, record = (DOCUMENT["components"]["schemas"][name] for name in SCHEMAS[noun])
    assert record["properties"].keys() - item["properties"].keys() == LEFT_OUT[noun]
    assert set(record["required"]) - set(item["required"]) == LEFT_OUT[noun]


@EACH
def test_a_list_does_not_read_what_it_leaves_out(database_url, tmp_path, noun):
    app = create_app(Settings(data=tmp_path, database_url=database_url))
    database = running(app).database
    calls, statements = over_wsgi(app), []
    calls.a_mapping()
    event.listen(
        database.engine, "before_cursor_execute", lambda *given: statements.append(given[2])
    )
    assert len(calls.get(f"/v1/{noun}").json["items"]) == 1
    assert calls.get("/").status == 200
    database.close()
    for word in ("FROM matches", "FROM item_blocks", "mappings.functions", "mappings.columns"):
        assert not [statement for statement in statements if word in statement]
    assert [statement for statement in statements if f"FROM {noun}" in statement]
