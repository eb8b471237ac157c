"""Problem types, each explained at its address."""

from __future__ import annotations

from typing import Any

from flask import Response, g, render_template, request
from marshmallow import fields

from api.errors import Problem, address_of_type
from api.headers import PAGE
from api.http.blueprint import StrictBlueprint
from api.http.media import HTML, JSON
from api.problems import PATH, PROBLEM_TYPES, ProblemType
from api.schemas.base import Reply

blueprint = StrictBlueprint(
    "problems", prefix="/problems", description="What the types of problems mean."
)


class ExplanationReply(Reply):
    """A type of problem."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    meaning = fields.String(required=True)
    remedy = fields.String(required=True)


def _fields(address: str, kind: ProblemType) -> dict[str, Any]:
    explained = ("title", "status", "meaning", "remedy")
    return {"type": address} | {name: getattr(kind, name) for name in explained}


_SHOWN = "grid-mismatch"
_EXAMPLE = _fields(PATH + _SHOWN, PROBLEM_TYPES[_SHOWN])


@blueprint.route("/<slug>", methods=["GET"])
@blueprint.offers(JSON, HTML)
@blueprint.problems(404)
@blueprint.response(200, {"type": "string"}, content_type=HTML, example="<!doctype html>...")
@blueprint.response(200, ExplanationReply, example=_EXAMPLE)
def explain_problem(slug: str) -> Any:
    """Explain a type of problem

    The address is the `type` of the problem. As JSON, or as a page.
    """
    explanation = PROBLEM_TYPES.get(slug)
    if explanation is None:
        detail = f"There is no problem of the type {slug[:40]!r}; {_all()} are explained."
        raise Problem(404, detail)
    name = address_of_type(PATH + slug)
    if g.media == HTML:
        root = request.script_root
        page = render_template("problem.html", root=root, type=name, problem=explanation)
        policy = {"Content-Security-Policy": PAGE}
        return Response(page, headers=policy, content_type="text/html; charset=utf-8")
    return _fields(name, explanation)


def _all() -> str:
    return ", ".join(PATH + slug for slug in PROBLEM_TYPES)
