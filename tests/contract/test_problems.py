"""The type of every problem is an address that explains it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.problems import PATH, PROBLEM_TYPES, STATUS_OF
from services.errors import CurveError

SOURCES = [path for room in ("api", "services") for path in Path(room).rglob("*.py")]


def kinds(error=CurveError):
    """An error of the domain and all that derive from it."""
    return [error, *(kind for derived in error.__subclasses__() for kind in kinds(derived))]


def test_every_error_of_the_domain_is_explained():
    for error in kinds():
        explanation = PROBLEM_TYPES[error.code]
        assert explanation.title == error.title
        status = next(STATUS_OF[kind] for kind in error.__mro__ if kind in STATUS_OF)
        assert explanation.status == status


def test_a_type_stands_in_the_table_alone():
    """Elsewhere it is the constant, so that no type lacks an explanation."""
    tables = {Path("api/problems.py"), Path("services/errors.py")}
    assert [
        (str(path), slug)
        for path in SOURCES
        if path not in tables
        for slug in PROBLEM_TYPES
        if f'"{slug}"' in path.read_text()
    ] == [("api/resources/problems.py", "grid-mismatch")]  # the example of the document
    assert not [path for path in SOURCES if 'slug="' in path.read_text()]


@pytest.mark.parametrize("slug", PROBLEM_TYPES)
def test_a_type_answers_at_its_address(calls, slug):
    reply = calls.get(PATH + slug)
    assert (reply.status, reply.type) == (200, "application/json")
    assert reply.json["type"] == PATH + slug
    assert all(reply.json[name].endswith(".") for name in ("meaning", "remedy"))
    page = calls.get(PATH + slug, headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.type == "text/html"
    assert PROBLEM_TYPES[slug].title in page.text


def test_the_type_of_a_real_problem_leads_to_its_explanation(calls):
    body = {"name": "a", "columns": {"x": [1.0], "y": [1.0, 2.0]}}
    problem = calls.a_csv("x,y\n1,a\n").json
    explained = calls.get(problem["type"]).json
    assert {name: explained[name] for name in ("type", "title", "status")} == {
        name: problem[name] for name in ("type", "title", "status")
    }
    assert calls.post("/v1/datasets", body).json["type"] == "about:blank"


def test_an_unknown_type_is_404(calls):
    reply = calls.get(PATH + "unheard-of")
    assert (reply.status, reply.type) == (404, "application/problem+json")
    assert PATH + "grid-mismatch" in reply.json["detail"]


def test_the_document_lists_every_type(calls):
    document = calls.get("/openapi.json").json
    text = document["components"]["schemas"]["ProblemReply"]["properties"]["type"]["description"]
    assert re.findall(r"`/problems/([a-z-]+)`", text) == list(PROBLEM_TYPES)
