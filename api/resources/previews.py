"""The route that says how a file would be read, and stores nothing."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import orjson
from flask import Response

from api.errors import PROBLEM_JSON, request_id
from api.http.blueprint import StrictBlueprint
from api.http.preview import ROWS, Look, first_rows
from api.http.upload import Upload
from api.http.uploads import read_upload, takes_uploads
from api.problems import curve_problem, status_of
from api.schemas.datasets import (
    COLUMNS_EXAMPLE,
    DATASET_EXAMPLE,
    DatasetRequest,
)
from api.schemas.previews import PreviewFields, PreviewForm, PreviewReply
from api.store.datasets import describe_dataset
from services.errors import CurveError

blueprint = StrictBlueprint(
    "previews",
    prefix="/v1/datasets/preview",
    description="How a file would be read.",
)

_WHOLE = ("n_points", "x_min", "x_max", "n_gaps", "sha256")
"""Fields that need the whole file."""

PREVIEW_EXAMPLE = {
    name: value
    for name, value in DATASET_EXAMPLE.items()
    if name not in {"id", "version", "created_at", "updated_at"}
} | {
    "complete": True,
    "columns": ["x", "y1", "y2"],
    "rows": [[0.0, 1.0, 3.0], [0.1, 1.1, 2.9]],
    "lines": ["x,y1,y2", "0.0,1.0,3.0", "0.1,1.1,2.9"],
    "readings": [
        {
            "options": {"x_column": "y1"},
            "x_column": "y1",
            "first_row": {"y1": 1.0, "x": 0.0, "y2": 3.0},
        }
    ],
}


@blueprint.route("", methods=["POST"])
@blueprint.arguments(PreviewFields, location="query")
@takes_uploads(
    blueprint, DatasetRequest, PreviewForm, {"name": "train", "columns": COLUMNS_EXAMPLE}
)
@blueprint.response(200, PreviewReply, example=PREVIEW_EXAMPLE)
def preview_dataset(query: dict[str, Any]) -> Any:
    """Tell how a file would be read

    The bodies and options of POST /v1/datasets; nothing is stored. With partial=true the body is
    the beginning of a text. A refusal has `readings`, too.
    """
    look = Look()
    try:
        upload = read_upload(DatasetRequest, PreviewForm, query, look=look)
        with closing(upload.curves):
            return _preview(upload, look)
    except CurveError as error:
        readings = look.readings(error=error)
        document = curve_problem(error, request_id()) | {"readings": readings}
        status = status_of(type(error))
        return Response(orjson.dumps(document), status, content_type=PROBLEM_JSON)


def _preview(upload: Upload, look: Look) -> dict[str, Any]:
    fields = upload.fields | {"name": upload.fields["name"] or "dataset"}
    fields.pop("partial", None)
    dataset, _, _ = describe_dataset(
        upload.curves, upload.source, upload.labels, warnings=upload.warnings, **fields
    )
    columns, rows = first_rows(upload.curves, ROWS)
    source = dataset.source | {"files": upload.files}
    record = dataset.as_dict() | {
        "source": source,
        "usable_as": dataset.usable_as,
        "complete": not look.is_partial,
        "columns": columns,
        "rows": rows,
        "lines": look.lines(),
        "readings": look.readings(upload.warnings),
    }
    return record | dict.fromkeys(_WHOLE if look.is_partial else ())
