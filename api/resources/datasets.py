"""Routes of datasets: uploads, records, curves and values."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import marshmallow as ma
import numpy as np
import orjson
from flask import Response, g, url_for
from sqlalchemy.orm import Session

from api import slots
from api.errors import Problem
from api.http.arguments import make_invalid
from api.http.blueprint import StrictBlueprint
from api.http.downloads import asks_for_text, file_reply, offers_tables, rows_reply
from api.http.media import CSV, JSON
from api.http.negotiation import make_etag, make_not_modified, read_if_match
from api.http.openapi_headers import ETAG, LINK, LOCATION
from api.http.paging import make_listing, read_records_page
from api.http.replies import SpooledBody, compute_reply
from api.http.uploads import CSV_EXAMPLE, read_upload, takes_uploads
from api.limits import limits_in_force
from api.running import database, running
from api.schemas.base import RecordsQuery, merge_patch
from api.schemas.datasets import (
    COLUMNS_EXAMPLE,
    DATASET_EXAMPLE,
    CurvesForm,
    CurvesRequest,
    DatasetFields,
    DatasetForm,
    DatasetPatch,
    DatasetReply,
    DatasetRequest,
    DatasetsReply,
    ValuesQuery,
    ValuesReply,
)
from api.schemas.files import MoreCurvesFields
from api.schemas.labels import check_attributes
from api.store.base import InUse, find, find_version, now
from api.store.datasets import (
    Dataset,
    add_dataset,
    append_curves,
    find_curves,
    read_curve_names,
    read_grid,
)
from api.store.fits import find_fits_of_dataset
from api.store.labels import NO_LABEL, Label, read_labels
from api.store.mappings import find_mappings_of_test
from api.store.values import X, send_rows, stream_rows
from services.errors import Fact, InvalidOption
from services.export.batches import values_batch, values_schema
from services.export.writers import csv_values
from services.files import USUAL_X
from services.quality import summarize
from services.tables import Curves

blueprint = StrictBlueprint(
    "datasets",
    prefix="/v1/datasets",
    description="One x column and one or more curves: training curves, a library, or test points.",
)

MORE_EXAMPLE = {"x": [0.0, 0.1, 0.2], "y3": [1.0, 1.5, 2.0]}


@blueprint.route("", methods=["POST"])
@blueprint.arguments(DatasetFields, location="query")
@takes_uploads(
    blueprint, DatasetRequest, DatasetForm, {"name": "train", "columns": COLUMNS_EXAMPLE}
)
@blueprint.response(201, DatasetReply, example=DATASET_EXAMPLE, headers=LOCATION | ETAG)
def create_dataset(query: dict[str, Any]) -> Any:
    """Store a dataset

    One x column and one or more curves: as JSON, as a form with one file or many, or the file
    itself as body with the other fields in the query. Values never change.
    """
    upload = read_upload(DatasetRequest, DatasetForm, query)
    fields = upload.fields | {"name": upload.fields["name"] or "dataset"}
    with closing(upload.curves), database().writing() as session:
        _require_room(session, upload.curves)
        dataset = add_dataset(
            session,
            upload.curves,
            upload.source,
            upload.labels,
            warnings=upload.warnings,
            files=upload.files,
            **fields,
        )
    location = url_for("datasets.read_dataset", dataset_id=dataset.id)
    return dataset, {"Location": location, "ETag": make_etag(dataset.version)}


@blueprint.route("", methods=["GET"])
@blueprint.arguments(RecordsQuery, location="query")
@blueprint.response(
    200, DatasetsReply, example={"items": [DATASET_EXAMPLE], "next": None}, headers=LINK
)
def list_datasets(query: dict[str, Any]) -> Any:
    """List datasets"""
    with database().reading() as session:
        page = read_records_page(session, Dataset, query)
    return make_listing(page, page.items)


@blueprint.route("/<dataset_id>", methods=["GET"])
@blueprint.problems(404)
@blueprint.conditional
@blueprint.response(200, DatasetReply, example=DATASET_EXAMPLE, headers=ETAG)
def read_dataset(dataset_id: str) -> Any:
    """Read a dataset's record"""
    with database().reading() as session:
        dataset = find(session, Dataset, dataset_id)
    return make_not_modified(dataset.version) or (dataset, {"ETag": make_etag(dataset.version)})


@blueprint.route("/<dataset_id>", methods=["PATCH"])
@blueprint.patches(DatasetPatch, {"name": "train 2", "attributes": {"instrument": None}})
@blueprint.response(200, DatasetReply, example=DATASET_EXAMPLE, headers=ETAG)
def change_dataset(patch: dict[str, Any], dataset_id: str) -> Any:
    """Change name, description, attributes or the unit of x

    A merge patch (RFC 7396): null removes an attribute or the unit, empties the description or the
    attributes. Send If-Match with the ETag that was read.
    """
    versions = read_if_match(required=True)
    with database().writing() as session:
        dataset = find_version(session, Dataset, dataset_id, versions)
        dataset.name = patch.get("name", dataset.name)
        dataset.description = patch.get("description", dataset.description) or ""
        dataset.x_unit = patch.get("x_unit", dataset.x_unit) or None
        if "attributes" in patch:
            dataset.attributes = _merge_attributes(dataset.attributes, patch["attributes"])
        if session.is_modified(dataset):
            dataset.updated_at = now()
        session.flush()
    return dataset, {"ETag": make_etag(dataset.version)}


def _merge_attributes(attributes: dict[str, Any], patch: dict[str, Any] | None) -> dict[str, Any]:
    merged: dict[str, Any] = merge_patch(attributes, patch) or {}
    try:
        check_attributes(merged)
    except ma.ValidationError as error:
        raise make_invalid({"attributes": error.messages}) from None
    return merged


@blueprint.route("/<dataset_id>", methods=["DELETE"])
@blueprint.deletes
@blueprint.response(204)
def delete_dataset(dataset_id: str) -> Any:
    """Delete a dataset

    409 while a fit or a mapping uses it.
    """
    with database().writing() as session:
        dataset = find_version(session, Dataset, dataset_id, read_if_match(required=False))
        fits = find_fits_of_dataset(session, dataset_id)
        users = [url_for("fits.read_fit", fit_id=fit) for fit in fits]
        mappings = find_mappings_of_test(session, dataset_id)
        users += [url_for("mappings.read_mapping", mapping_id=mapping) for mapping in mappings]
        if users:
            raise InUse(f"The dataset is used by {', '.join(users)}; delete these first.")
        session.delete(dataset)
    return Response(status=204)


@blueprint.route("/<dataset_id>/curves", methods=["POST"])
@blueprint.arguments(MoreCurvesFields, location="query")
@blueprint.problems(404)
@blueprint.matches("Append to this version only.")
@takes_uploads(blueprint, CurvesRequest, CurvesForm, {"columns": MORE_EXAMPLE})
@blueprint.response(200, DatasetReply, example=DATASET_EXAMPLE, headers=ETAG)
def append_to_dataset(query: dict[str, Any], dataset_id: str) -> Any:
    """Append curves on the same x

    The body holds the dataset's x column and the new curves. All are appended, or none. Fits
    and mappings keep the curves they were made with.
    """
    with database().reading() as session:
        dataset = find(session, Dataset, dataset_id)
    if dataset.n_points > slots.SMALL_NUMBERS:
        slots.receive(limits_in_force().body_bytes)
        slots.enter()
    with database().reading() as session:
        grid = dataset.x_column, read_grid(session, dataset)
    upload = read_upload(CurvesRequest, CurvesForm, query, (dataset.x_column, *USUAL_X), grid)
    with closing(upload.curves):
        summary = summarize(upload.curves, with_x=False)
        with database().writing() as session:
            _require_room(session, upload.curves)
            versions = read_if_match(required=False)
            dataset = find_version(session, Dataset, dataset_id, versions)
            append_curves(
                session,
                dataset,
                upload.curves,
                upload.labels,
                summary,
                warnings=upload.warnings,
                files=upload.files,
            )
    return dataset, {"ETag": make_etag(dataset.version)}


@blueprint.route("/<dataset_id>/values", methods=["GET"])
@blueprint.arguments(ValuesQuery, location="query")
@offers_tables(blueprint, CSV_EXAMPLE)
@blueprint.problems(404)
@blueprint.response(200, ValuesReply, example={"columns": COLUMNS_EXAMPLE})
def read_values(query: dict[str, Any], dataset_id: str) -> Any:
    """Read values

    The columns as named, or all with x first; the rows from `start`. A gap is null in JSON,
    Parquet and Arrow, and an empty cell in CSV. Parquet and Arrow keep units and attributes in the
    metadata of their columns.
    """
    as_text = asks_for_text(query["cells"])
    with database().reading() as session:
        dataset = find(session, Dataset, dataset_id)
        names, indices = _find_columns(session, dataset, query.get("columns"))
        start = min(query["start"], dataset.n_points)
        count = query["count"] or (
            _default_rows(len(names)) if g.media == JSON else dataset.n_points
        )
        stop = min(start + count, dataset.n_points)
        labels = _read_labels(session, dataset, indices)
    if g.media == JSON:
        return _reply_json(dataset, names, indices, (start, stop))
    rows = send_rows(database(), dataset, indices, start, stop)
    if g.media == CSV:
        return file_reply(lambda: csv_values(names, rows, as_text=as_text), dataset.name)
    schema = values_schema(names, labels)
    return rows_reply(schema, (values_batch(schema, block) for block in rows), dataset.name)


def _read_labels(session: Session, dataset: Dataset, indices: list[int]) -> list[Label]:
    """Read unit and attributes of columns for the formats that keep them."""
    if g.media in (JSON, CSV):
        return []
    most = limits_in_force().columns
    if len(indices) > most:
        detail = f"That would be {len(indices)} columns; this format holds {most}."
        fact = Fact(detail, "too_many", parameter="columns")
        raise Problem(422, f"{detail} Name fewer columns, or ask for CSV.", [fact])
    labels = read_labels(session, dataset.id, indices) | {X: Label(dataset.x_unit)}
    return [labels.get(index, NO_LABEL) for index in indices]


def _reply_json(
    dataset: Dataset, names: list[str], indices: list[int], rows: tuple[int, int]
) -> Response:
    """Reply with values as JSON, written column by column."""
    numbers = len(names) * (rows[1] - rows[0])
    _check_count(numbers)

    def write() -> Response:
        with database().reading() as session:
            find(session, Dataset, dataset.id)
            blocks = list(stream_rows(session, dataset, indices, *rows))
        values = np.concatenate([np.empty((len(names), 0)), *blocks], axis=1)
        with SpooledBody() as written:
            before = b'{"columns":{'
            for name, column in zip(names, values, strict=True):
                written.write(before + orjson.dumps(name) + b":")
                written.write(orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY))
                before = b","
            written.write(b"}}")
            return written.reply(JSON)

    return compute_reply(write, JSON, numbers=numbers)


def _find_columns(
    session: Session, dataset: Dataset, names: list[str] | None
) -> tuple[list[str], list[int]]:
    """Return the names and positions of the columns that were asked for."""
    if names is None:
        found = read_curve_names(session, dataset, range(dataset.n_curves))
        return [dataset.x_column, *found.values()], [X, *found]
    places = find_curves(session, dataset, names) | {dataset.x_column: X}
    seen: set[str] = set()
    for name in names:
        if name not in places or name in seen:
            reason = "there is no such column" if name not in places else "it is asked for twice"
            detail = f"columns: {name!r}: {reason}."
            raise InvalidOption(detail, [Fact(detail, "unknown_column", parameter="columns")])
        seen.add(name)
    return names, [places[name] for name in names]


def _default_rows(columns: int) -> int:
    """Return the default number of rows in JSON, smaller for a wide dataset."""
    return min(1000, max(1, limits_in_force().json_values // columns))


def _check_count(numbers: int) -> None:
    """Refuse more numbers than a JSON reply may hold."""
    most = limits_in_force().json_values
    if numbers > most:
        detail = f"That would be {numbers} numbers; JSON holds {most}. Ask for fewer, or for CSV."
        raise Problem(422, detail, [Fact(detail, "too_many", parameter="count")])


def _require_room(session: Session, curves: Curves) -> None:
    """Begin the transaction, and refuse curves that would use the reserve of the disk.

    The transaction comes first, so that requests that store curves check one after the other.
    """
    session.connection()
    running().disk.require(curves.x.nbytes * (1 + len(curves.names)))
