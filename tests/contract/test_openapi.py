"""The OpenAPI document: valid, complete, true to the service, and the one that is committed."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.calls import CURVES, POINTS
from tests.contract.document import DOCUMENT, OPERATIONS, PATH, address, resolve

PROBLEM = "application/problem+json"
IDS = [f"{method} {path}" for method, path, _ in OPERATIONS]
EACH = pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
REGISTRY = Registry().with_resource(
    "urn:document", Resource.from_contents(DOCUMENT, default_specification=DRAFT202012)
)

# RFC 9110, 9457 and the contract: what an operation of this kind can always answer.
ALWAYS = {414, 431, 500, 503, 507}
EXPECTED_ERRORS = {"GET": {422, 406}, "POST": {422, 406}, "PATCH": {404, 412, 428}, "DELETE": {404}}


def validator(schema):
    """Validate by a schema of the document, whose references are those of the document."""
    return Draft202012Validator(
        _absolute(schema), registry=REGISTRY, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def _absolute(node):
    if isinstance(node, dict):
        return {
            key: f"urn:document{value}" if key == "$ref" else _absolute(value)
            for key, value in node.items()
        }
    return [_absolute(item) for item in node] if isinstance(node, list) else node


def examples_of(media):
    found = [media["example"]] if "example" in media else []
    return found + [example["value"] for example in media.get("examples", {}).values()]


def successes(operation):
    return {
        int(status): resolve(response)
        for status, response in operation["responses"].items()
        if status.isdigit() and int(status) < 300
    }


def errors(operation):
    return {
        int(status): resolve(response)
        for status, response in operation["responses"].items()
        if status.isdigit() and int(status) >= 400
    }


def contents():
    """(where, media type, media type object) of every body in the document."""
    for (method, path, operation), name in zip(OPERATIONS, IDS, strict=True):
        del method, path
        body = resolve(operation["requestBody"]) if "requestBody" in operation else {}
        for kind, media in body.get("content", {}).items():
            yield f"{name} request {kind}", kind, media
        for status, response in operation["responses"].items():
            for kind, media in resolve(response).get("content", {}).items():
                yield f"{name} {status} {kind}", kind, media


CONTENTS = list(contents())
EACH_CONTENT = pytest.mark.parametrize(
    ("kind", "media"),
    [(kind, media) for _, kind, media in CONTENTS],
    ids=[where for where, _, _ in CONTENTS],
)


def test_the_document_is_valid():
    validate(DOCUMENT)


def test_the_committed_document_is_the_generated_one(calls):
    """Mend it with: make openapi."""
    assert calls.get("/openapi.json").json == DOCUMENT
    assert json.loads(PATH.read_text()) == DOCUMENT


def test_the_document_says_what_the_service_is():
    assert DOCUMENT["openapi"].startswith("3.1")
    assert DOCUMENT["info"]["title"] == "Idealfit"
    assert DOCUMENT["info"]["description"]
    assert DOCUMENT["info"]["version"]

    assert DOCUMENT["info"]["license"] == {"name": "MIT", "identifier": "MIT"}
    assert DOCUMENT["servers"]
    assert DOCUMENT["security"] == []


def nodes(node=DOCUMENT):
    """Every object of the document."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node:
        if isinstance(inner, dict | list):
            yield from nodes(inner)


def test_every_enumeration_has_one_name():
    """Generated clients have one type then, and a record's words can be posted again."""
    schemas = DOCUMENT["components"]["schemas"]
    named = [schema for schema in schemas.values() if "enum" in schema]
    assert len({tuple(schema["enum"]) for schema in named}) == len(named)
    assert [node for node in nodes() if isinstance(node.get("enum"), list)] == named


def test_every_schema_is_used():
    used = {node["$ref"].rpartition("/")[2] for node in nodes() if "$ref" in node}
    assert DOCUMENT["components"]["schemas"].keys() <= used


def test_nothing_internal_is_left():
    assert not [key for node in nodes() for key in node if key.startswith("x-")]


@EACH_CONTENT
def test_every_body_has_a_schema(kind, media):
    assert media["schema"].keys() & {"$ref", "type"}, kind


@pytest.mark.parametrize("path", [path for method, path, _ in OPERATIONS if method == "GET"])
def test_the_first_format_is_what_anybody_gets(calls, some, path):
    operation = DOCUMENT["paths"][path]["get"]
    reply = calls.get(address(path, some), headers={"Accept": "*/*"})
    assert next(iter(successes(operation)[200]["content"])) == reply.type


def test_every_error_that_says_when_to_come_back_has_it_as_a_number():
    for _, _, operation in OPERATIONS:
        header = resolve(resolve(operation["responses"]["503"])["headers"]["Retry-After"])
        assert header["schema"] == {"type": "integer"}


def test_every_tag_is_described():
    described = {tag["name"] for tag in DOCUMENT["tags"] if tag.get("description")}
    assert {tag for _, _, operation in OPERATIONS for tag in operation["tags"]} <= described


def test_every_operation_has_its_own_id():
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(ids)) == len(ids)
    assert all(identifier.isidentifier() for identifier in ids)


def test_every_route_of_the_contract_is_there():
    routes = {(method, path) for method, path, _ in OPERATIONS}
    for noun, name in (("datasets", "dataset"), ("fits", "fit"), ("mappings", "mapping")):
        one = f"/v1/{noun}/{{{name}_id}}"
        expected = {("GET", f"/v1/{noun}"), ("POST", f"/v1/{noun}"), ("GET", f"{one}/plot")}
        expected |= {(method, one) for method in ("GET", "PATCH", "DELETE")}
        assert expected <= routes
    for method, path in (
        ("GET", "/v1/datasets/{dataset_id}/curves"),
        ("POST", "/v1/datasets/{dataset_id}/curves"),
        ("PATCH", "/v1/datasets/{dataset_id}/curves"),
        ("PATCH", "/v1/datasets/{dataset_id}/curves/{index}"),
        ("GET", "/v1/datasets/{dataset_id}/values"),
        ("GET", "/v1/fits/{fit_id}/matches"),
        ("POST", "/v1/fits/{fit_id}/evaluate"),
        ("POST", "/v1/fits/{fit_id}/cancel"),
        ("GET", "/v1/mappings/{mapping_id}/points"),
        ("GET", "/v1/mappings/{mapping_id}/export"),
        ("POST", "/v1/mappings/{mapping_id}/cancel"),
        ("GET", "/v1/limits"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
    ):
        assert (method, path) in routes


@EACH
def test_an_operation_has_a_summary(method, path, operation):
    del method, path
    assert operation["summary"]
    assert not operation["summary"].endswith(".")


@EACH
def test_an_operation_shows_a_success(method, path, operation):
    found = successes(operation)
    assert found
    for status, response in found.items():
        if status == 204:
            assert "content" not in response
            continue
        assert response["content"]
        for kind, media in response["content"].items():
            binary = media["schema"].get("format") == "binary"
            assert examples_of(media) or binary or path.endswith("/plot"), (method, kind)


@EACH
def test_a_body_has_an_example(method, path, operation):
    del path
    if "requestBody" not in operation:
        assert method != "PATCH"
        return
    body = resolve(operation["requestBody"])
    assert body["required"] is True
    for kind, media in body["content"].items():
        # JSON has no way to show a file of bytes.
        assert examples_of(media) or media["schema"].get("format") == "binary", kind


@EACH
def test_errors_are_documented_and_are_problems(method, path, operation):
    found = errors(operation)
    expected = EXPECTED_ERRORS[method] | ALWAYS
    if "{" in path:
        expected = expected | {404}
    if "requestBody" in operation:
        expected = expected | {400, 413, 415, 422}
    assert expected <= set(found)
    for status, response in found.items():
        assert response["description"], status
        if status in {414, 431}:
            continue  # The server says so before the request is ours.
        assert "X-Request-ID" in response["headers"]
        (kind,) = response["content"]
        assert kind == PROBLEM
        assert response["content"][kind]["schema"]["$ref"].endswith("/ProblemReply")
        assert examples_of(response["content"][kind])[0]["status"] == status


@EACH
def test_parameters_are_described(method, path, operation):
    del method
    item = DOCUMENT["paths"][path]
    parameters = [
        resolve(p) for p in (*item.get("parameters", ()), *operation.get("parameters", ()))
    ]
    in_path = {p["name"] for p in parameters if p["in"] == "path"}
    assert in_path == {part[1:-1] for part in path.split("/") if part.startswith("{")}
    for parameter in parameters:
        assert parameter["schema"]
        assert parameter["in"] != "formData"


@EACH_CONTENT
def test_an_example_validates_against_its_schema(kind, media):
    for example in examples_of(media):
        validator(media["schema"]).validate(example)
        if kind in {"application/json", PROBLEM}:
            json.dumps(example, allow_nan=False)


@EACH_CONTENT
def test_an_example_shows_every_required_field(kind, media):
    """Of the whole tree: an example that leaves a field out teaches clients to do without it."""
    del kind
    for example in examples_of(media):
        assert missing(media["schema"], example) == []


def missing(schema, value, where=""):
    """Places of required fields that a value lacks, nested ones too."""
    schema = resolve(schema)
    found = []
    for part in (*schema.get("allOf", ()), *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        found += [] if part == {"type": "null"} else missing(part, value, where)
    if isinstance(value, dict):
        found += [f"{where}/{name}" for name in schema.get("required", ()) if name not in value]
        for name, inner in schema.get("properties", {}).items():
            found += missing(inner, value[name], f"{where}/{name}") if name in value else []
    if isinstance(value, list):
        for position, item in enumerate(value):
            found += missing(schema.get("items", {}), item, f"{where}/{position}")
    return found


@pytest.mark.parametrize(
    "name", [name for name in DOCUMENT["components"]["schemas"] if name.endswith(("Reply", "Item"))]
)
def test_a_reply_may_get_more_fields(name):
    """Clients that are generated from the document must not break then."""
    schema = DOCUMENT["components"]["schemas"][name]
    assert schema.get("additionalProperties", True) is not False


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, schema in DOCUMENT["components"]["schemas"].items()
        if not name.endswith(("Reply", "Item")) and "enum" not in schema
    ],
)
def test_a_request_may_not(name):
    assert DOCUMENT["components"]["schemas"][name]["additionalProperties"] is False


A_FIT = {"training_id": "{dataset_id}", "ideal_id": "{dataset_id}"}
A_MAPPING = {"fit_id": "{fit_id}", "test_id": "{dataset_id}"}
CALLS = (
    ("GET", "/v1/datasets", None),
    ("GET", "/v1/fits", None),
    ("GET", "/v1/mappings", None),
    ("GET", "/v1/datasets/{dataset_id}", None),
    ("GET", "/v1/datasets/{dataset_id}/curves", None),
    ("GET", "/v1/datasets/{dataset_id}/curves/{index}", None),
    ("GET", "/v1/datasets/{dataset_id}/values", None),
    ("GET", "/v1/fits/{fit_id}", None),
    ("GET", "/v1/fits/{fit_id}/matches", None),
    ("GET", "/v1/mappings/{mapping_id}", None),
    ("GET", "/v1/mappings/{mapping_id}/points", None),
    ("GET", "/v1/limits", None),
    ("GET", "/health/live", None),
    ("GET", "/health/ready", None),
    ("GET", "/problems/{slug}", None),
    ("POST", "/v1/datasets", {"name": "a", "columns": CURVES}),
    ("POST", "/v1/datasets/preview", {"name": "a", "columns": CURVES}),
    (
        "POST",
        "/v1/datasets/{dataset_id}/curves",
        {"columns": {"x": CURVES["x"], "y3": [0, 0, None]}},
    ),
    ("POST", "/v1/fits", A_FIT),
    ("POST", "/v1/fits/{fit_id}/evaluate", POINTS),
    ("POST", "/v1/mappings", A_MAPPING),
    ("PATCH", "/v1/datasets/{dataset_id}", {}),
    ("PATCH", "/v1/datasets/{dataset_id}/curves", {}),
    ("PATCH", "/v1/datasets/{dataset_id}/curves/{index}", {}),
    ("PATCH", "/v1/fits/{fit_id}", {}),
    ("PATCH", "/v1/mappings/{mapping_id}", {}),
)


@pytest.mark.parametrize(("method", "path", "body"), CALLS, ids=[f"{m} {p}" for m, p, _ in CALLS])
def test_a_reply_is_what_the_document_says_with_every_field(calls, some, method, path, body):
    """The service writes what its handlers made, so only this holds replies to their schemas."""
    if body in (A_FIT, A_MAPPING):
        body = {name: address(value, some) for name, value in body.items()}
    where = address(path, some)
    if (method, path) == ("POST", "/v1/datasets/{dataset_id}/curves"):
        where = f"/v1/datasets/{calls.a_dataset()['id']}/curves"
    reply = calls(method, where, json_body=body, headers={"If-Match": "*"})
    operation = DOCUMENT["paths"][path][method.lower()]
    media = resolve(operation["responses"][str(reply.status)])["content"][reply.type]
    validator(media["schema"]).validate(reply.json)
    assert missing(media["schema"], reply.json) == []


def test_every_json_reply_is_held_to_the_document():
    """But for plots, which have a test below, and for cancelling, which no record allows yet."""
    written = {
        (method, path)
        for method, path, operation in OPERATIONS
        for response in successes(operation).values()
        if "application/json" in response.get("content", {})
    }
    compared = {(method, path) for method, path, _ in CALLS}
    others = {(m, path) for m, path in written if path.endswith(("/plot", "/cancel"))}
    assert written - others == compared


@pytest.mark.parametrize("noun", ["datasets", "fits", "mappings"])
def test_a_plot_as_json_is_what_the_document_says(calls, some, noun):
    reply = calls.get(f"{some.address[noun]}/plot", headers={"Accept": "application/json"})
    schema = DOCUMENT["components"]["schemas"]["PlotReply"]
    validator(schema).validate(reply.json)
    assert reply.json.keys() == schema["properties"].keys()


@pytest.mark.parametrize(
    ("method", "path", "operation"), [case for case in OPERATIONS if case[0] == "PATCH"]
)
def test_a_problem_is_what_the_document_says(calls, some, method, path, operation):
    reply = calls(method, address(path, some), json_body={"name": 7}, headers={"If-Match": "*"})
    media = resolve(operation["responses"]["422"])["content"][reply.type]
    validator(media["schema"]).validate(reply.json)
