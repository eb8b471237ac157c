"""Routes of the curves of a dataset: their list, their units and attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from api import slots
from api.http.arguments import make_invalid
from api.http.blueprint import StrictBlueprint
from api.http.negotiation import make_etag, read_if_match
from api.http.openapi_headers import ETAG, LINK
from api.http.paging import decode_cursor, make_listing
from api.running import database
from api.schemas.base import LARGEST, merge_patch
from api.schemas.datasets import (
    CURVE_EXAMPLE,
    DATASET_EXAMPLE,
    CurveReply,
    CurvesPatch,
    CurvesQuery,
    CurvesReply,
    DatasetReply,
)
from api.schemas.labels import CURVES_PATCH, CurvePatch
from api.store.base import NotFound, find, find_version, now
from api.store.curves import CurveFilter, count_values, read_curve, read_page_of_curves
from api.store.datasets import Dataset, find_curves
from api.store.labels import NO_LABEL, Label, read_labels, replace_labels
from services.labels import ATTRIBUTES_BYTES, find_fault, write_attributes

blueprint = StrictBlueprint(
    "curves",
    prefix="/v1/datasets/<dataset_id>/curves",
    description="The curves of a dataset, with their units and attributes.",
)

FACETS_EXAMPLE = {"CAS": [{"value": "64-17-5", "count": 3}, {"value": "67-56-1", "count": 1}]}


@blueprint.route("", methods=["GET"])
@blueprint.arguments(CurvesQuery, location="query")
@blueprint.problems(404)
@blueprint.response(
    200,
    CurvesReply,
    example={"items": [CURVE_EXAMPLE], "next": None, "facets": FACETS_EXAMPLE},
    headers=LINK,
)
def list_curves(query: dict[str, Any], dataset_id: str) -> Any:
    """List the curves of a dataset

    All, or those that pass each of the filters, in the order of the dataset.
    """
    after = decode_cursor(query["cursor"], int)
    wanted = CurveFilter(query["name"], query["contains"], query["attribute"])
    with database().reading() as session:
        dataset = find(session, Dataset, dataset_id)
    # All these look at each curve, where no index helps.
    if dataset.n_curves > slots.SMALL_NUMBERS and (
        wanted.contains or wanted.attributes or query["facets"]
    ):
        slots.enter()
    with database().reading() as session:
        page = read_page_of_curves(
            session, dataset, wanted, after[0] if after else -1, query["limit"]
        )
        facets = {name: count_values(session, dataset, wanted, name) for name in query["facets"]}
    body, headers = make_listing(page, page.items)
    return body | {"facets": facets}, headers


@blueprint.route("", methods=["PATCH"])
@blueprint.patches(
    CurvesPatch,
    {"y1": {"unit": "V", "attributes": {"sample": "A7"}}, "y2": {"attributes": {"sample": None}}},
    CURVES_PATCH,
)
@blueprint.response(200, DatasetReply, example=DATASET_EXAMPLE, headers=ETAG)
def change_curves(patch: dict[str, dict[str, Any]], dataset_id: str) -> Any:
    """Change units and attributes of curves

    A merge patch (RFC 7396) by the names of curves: null removes an attribute or the unit, or
    empties the attributes. All curves change, or none. Send If-Match with the ETag of the dataset;
    its version changes, its sha256 does not.
    """
    versions = read_if_match(required=True)
    with database().writing() as session:
        dataset = find_version(session, Dataset, dataset_id, versions)
        # PostgreSQL raises an error for NUL.
        places = find_curves(session, dataset, [name for name in patch if "\0" not in name])
        if unknown := [name for name in patch if name not in places]:
            raise make_invalid({name: ["The dataset has no such curve."] for name in unknown})
        faults = _patch(session, dataset, {places[name]: patch[name] for name in patch})
        if faults:
            raise make_invalid(
                {name: faults[places[name]] for name in patch if places[name] in faults}
            )
    return dataset, {"ETag": make_etag(dataset.version)}


@blueprint.route("/<int:index>", methods=["GET"])
@blueprint.problems(404)
@blueprint.response(200, CurveReply, example=CURVE_EXAMPLE, headers=ETAG)
def read_one_curve(dataset_id: str, index: int) -> Any:
    """Read what is known of a curve

    Its ETag is that of the dataset.
    """
    with database().reading() as session:
        dataset = find(session, Dataset, dataset_id)
        return _find_curve(session, dataset, index), {"ETag": make_etag(dataset.version)}


@blueprint.route("/<int:index>", methods=["PATCH"])
@blueprint.patches(CurvePatch, {"unit": "V", "attributes": {"sample": None}})
@blueprint.response(200, CurveReply, example=CURVE_EXAMPLE, headers=ETAG)
def change_curve(patch: dict[str, Any], dataset_id: str, index: int) -> Any:
    """Change unit and attributes of a curve

    As `changeCurves` does, for the curve at this position.
    """
    versions = read_if_match(required=True)
    with database().writing() as session:
        dataset = find_version(session, Dataset, dataset_id, versions)
        _find_curve(session, dataset, index)
        if faults := _patch(session, dataset, {index: patch}):
            raise make_invalid(faults[index])
        return _find_curve(session, dataset, index), {"ETag": make_etag(dataset.version)}


def _find_curve(session: Session, dataset: Dataset, index: int) -> dict[str, Any]:
    curve = read_curve(session, dataset, index) if index <= LARGEST else None
    if curve is None:
        raise NotFound("curve", str(index))
    return curve


def _patch(
    session: Session, dataset: Dataset, patches: Mapping[int, dict[str, Any]]
) -> dict[int, dict[str, list[str]]]:
    """Apply a patch to each of some curves; return what is wrong with any, by position."""
    old = read_labels(session, dataset.id, patches)
    new = {index: _merge(old.get(index, NO_LABEL), patch) for index, patch in patches.items()}
    changed = {
        index: label
        for index, label in new.items()
        if _write(label) != _write(old.get(index, NO_LABEL))
    }
    faults = {
        index: {"attributes": [fault]}
        for index, label in changed.items()
        if (fault := find_fault(label.attributes, ATTRIBUTES_BYTES))
    }
    if changed and not faults:
        replace_labels(session, dataset.id, changed)
        dataset.updated_at = now()
        session.flush()
    return faults


def _write(label: Label) -> tuple[str | None, str]:
    """Write a label so that 1, 1.0 and true differ."""
    return label.unit, write_attributes(dict(label.attributes))


def _merge(label: Label, patch: dict[str, Any]) -> Label:
    unit, attributes = label
    if "attributes" in patch:
        attributes = merge_patch(attributes, patch["attributes"]) or {}
    return Label(patch.get("unit", unit) or None, attributes)
