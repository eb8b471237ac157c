"""A client that sends every documented default is served as one that sends none."""

from __future__ import annotations

import pytest

from tests.calls import CURVES, LIBRARY, POINTS, a_form
from tests.contract.document import DOCUMENT, OPERATIONS, address, resolve
from tests.files import a_parquet

UPLOADS = {
    path: {"columns": columns} | more
    for path, columns, more in (
        ("/v1/datasets", CURVES, {"name": "a"}),
        ("/v1/datasets/preview", CURVES, {"name": "a"}),
        ("/v1/datasets/{dataset_id}/curves", {"x": CURVES["x"], "y3": [0.0, 1.0, 2.0]}, {}),
    )
}
REQUIRED = {
    "/v1/fits": {"training_id": "{dataset_id}", "ideal_id": "{dataset_id}"},
    "/v1/mappings": {"fit_id": "{fit_id}", "test_id": "{dataset_id}"},
    "/v1/fits/{fit_id}/evaluate": POINTS,
    **UPLOADS,
}
KINDS = {"json": "application/json", "form": "multipart/form-data"}


def defaults_of(schema):
    """Every default of an object's fields, by name."""
    fields = resolve(schema).get("properties", {})
    return {name: field["default"] for name, field in fields.items() if "default" in field}


def query_defaults(path, operation):
    parameters = [*DOCUMENT["paths"][path].get("parameters", ()), *operation.get("parameters", ())]
    return {
        parameter["name"]: parameter["schema"]["default"]
        for parameter in map(resolve, parameters)
        if parameter["in"] == "query" and "default" in parameter["schema"]
    }


def body_of(operation, kind):
    return resolve(operation["requestBody"])["content"][kind]["schema"]


@pytest.mark.parametrize(
    ("path", "operation"), [(path, op) for method, path, op in OPERATIONS if method == "GET"]
)
def test_a_list_with_all_defaults(calls, some, path, operation):
    reply = calls.get(address(path, some), params=query_defaults(path, operation))
    assert reply.status == 200


@pytest.mark.parametrize(
    ("path", "operation"),
    [(path, op) for method, path, op in OPERATIONS if method == "POST" and path in REQUIRED],
)
def test_a_json_body_with_all_defaults_beside_a_query_with_all(calls, some, path, operation):
    given = {
        name: address(value, some) if isinstance(value, str) else value
        for name, value in REQUIRED[path].items()
    }
    body = defaults_of(body_of(operation, KINDS["json"])) | given
    where = here(calls, some, path)
    reply = calls.post(where, body, params=query_defaults(path, operation))
    assert reply.status in {200, 201}, reply.text


def test_every_operation_with_a_body_is_tried():
    posts = {path for method, path, op in OPERATIONS if method == "POST" and "requestBody" in op}
    assert posts == set(REQUIRED)


def here(calls, some, path):
    """The address of a call; curves are appended to a dataset of their own."""
    if path == "/v1/datasets/{dataset_id}/curves":
        return f"/v1/datasets/{calls.a_dataset()['id']}/curves"
    return address(path, some)


@pytest.mark.parametrize("path", UPLOADS)
@pytest.mark.parametrize("beside", [True, False], ids=["query too", "form only"])
def test_a_form_with_all_defaults(calls, some, path, beside):
    operation = DOCUMENT["paths"][path]["post"]
    fields = defaults_of(body_of(operation, KINDS["form"]))
    assert set(fields) >= {"x_column", "header", "sheet"}
    form = a_form(("file", table(path), "a.csv"), *fields.items())
    params = query_defaults(path, operation) if beside else {}
    reply = calls.post(here(calls, some, path), params=params, **form)
    assert reply.status in {200, 201}, reply.text
    assert reply.json["name"] in {"a", "curves"}


def table(path):
    columns = UPLOADS[path]["columns"]
    rows = zip(*columns.values(), strict=True)
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)])


@pytest.mark.parametrize("path", UPLOADS)
@pytest.mark.parametrize("kind", ["text/csv", "application/octet-stream"])
def test_a_plain_file_with_all_defaults(calls, some, path, kind):
    params = query_defaults(path, DOCUMENT["paths"][path]["post"])
    where, headers = here(calls, some, path), {"Content-Type": kind}
    reply = calls.post(where, data=table(path).encode(), headers=headers, params=params)
    assert reply.status in {200, 201}, reply.text


@pytest.mark.parametrize(
    ("name", "value"),
    [("name", "b"), ("header", "absent"), ("x_column", "y1"), ("attributes", '{"a": 1}')],
)
def test_any_other_value_beside_a_body_is_refused_with_its_name(calls, name, value):
    form = a_form(("file", table("/v1/datasets"), "a.csv"))
    body = {"name": "a", "columns": CURVES}
    for reply in (
        calls.post("/v1/datasets", params={name: value}, **form),
        calls.post("/v1/datasets", body, params={name: value}),
    ):
        assert reply.status == 422
        assert [fact["parameter"] for fact in reply.json["errors"]] == [name]
        assert "field of the body" in reply.json["detail"]


def test_no_option_of_a_form_or_query_is_shown_as_null():
    """Swagger UI fills in what is shown, and a form cannot send null but as a word."""
    for method, path, operation in OPERATIONS:
        schemas = [p["schema"] for p in map(resolve, operation.get("parameters", ()))]
        if path in UPLOADS and method == "POST":
            schemas += resolve(body_of(operation, KINDS["form"]))["properties"].values()
        for schema in schemas:
            assert "null" not in schema.get("type", ()), (path, schema)
            assert schema.get("default", "") is not None


class TestOctetStream:
    """A file of a format that its sender does not know, or whose client knows no other type."""

    @pytest.mark.parametrize(
        ("data", "read_as"),
        [
            (b"x,y\n1,2\n", "csv"),
            (a_parquet({"x": [1.0], "y": [2.0]}), "parquet"),
            (b'{"name": "q", "columns": {"x": [1], "y": [2]}}', "json"),
        ],
    )
    def test_its_content_tells_the_format(self, calls, data, read_as):
        headers = {"Content-Type": "application/octet-stream"}
        reply = calls.post("/v1/datasets", data=data, headers=headers, params={"name": "n"})
        assert (reply.status, reply.json["name"]) == (201, "n")
        assert reply.json["source"]["format"] == read_as

    def test_what_is_no_table_is_415(self, calls):
        headers = {"Content-Type": "application/octet-stream"}
        assert calls.post("/v1/datasets", data=b"%PDF-1.4\x00", headers=headers).status == 415


def test_a_record_can_be_posted_again(calls):
    """The words of a reply are those of a request."""
    fit = calls.a_fit(CURVES, LIBRARY, transform="affine", criterion="mae", alignment="linear")
    fields = resolve(body_of(DOCUMENT["paths"]["/v1/fits"]["post"], KINDS["json"]))["properties"]
    again = calls.made("/v1/fits", {name: fit[name] for name in fields})
    assert {name: again[name] for name in fields} == {name: fit[name] for name in fields}
