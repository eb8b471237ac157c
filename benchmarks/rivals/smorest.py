"""The same service as stock flask-smorest: marshmallow both ways, replies by jsonify."""

from __future__ import annotations

import math
from typing import Any

import marshmallow as ma
from flask import Flask
from flask_smorest import Api, Blueprint, abort
from marshmallow import fields

from benchmarks.rivals import common

app = Flask(__name__)
app.config.update(API_TITLE="peer", API_VERSION="1", OPENAPI_VERSION="3.1.0")
blueprint = Blueprint("peer", __name__)

NOT_EMPTY = ma.validate.Length(min=1)


def numbers() -> fields.List:
    """Make a field of numbers and gaps."""
    return fields.List(fields.Float(allow_none=True), required=True, validate=NOT_EMPTY)


class PointsRequest(ma.Schema):
    """Body of an evaluation."""

    x = numbers()
    y = numbers()
    policy = fields.Str(load_default="all", validate=ma.validate.OneOf(["all", "nearest"]))
    tolerance_factor = fields.Float(load_default=math.sqrt(2), validate=ma.validate.Range(min=0))

    @ma.validates_schema
    def check_lengths(self, data: dict[str, Any], **_: object) -> None:
        """Refuse columns of different lengths."""
        if len(data["x"]) != len(data["y"]):
            raise ma.ValidationError("x and y differ in length")


class ItemReply(ma.Schema):
    """An assignment, or a point without one."""

    point = fields.Int()
    column = fields.Str()
    x = fields.Float()
    y = fields.Float()
    training = fields.Str()
    ideal = fields.Str()
    deviation = fields.Float()
    limit = fields.Float()
    reason = fields.Str()


class FunctionReply(ma.Schema):
    """A function and its assignments."""

    training = fields.Str()
    ideal = fields.Str()
    limit = fields.Float()
    n_assignments = fields.Int()
    deviation_mean = fields.Float()
    deviation_max = fields.Float()


class ItemsReply(ma.Schema):
    """All items."""

    items = fields.List(fields.Nested(ItemReply))
    next = fields.Str()


class AnswerReply(ma.Schema):
    """Reply to an evaluation."""

    policy = fields.Str()
    tolerance_factor = fields.Float()
    alignment = fields.Str()
    x_tolerance = fields.Float()
    n_points = fields.Int()
    mapped_points = fields.Int()
    unmapped_points = fields.Int()
    n_assignments = fields.Int()
    unmapped_reasons = fields.Dict()
    functions = fields.List(fields.Nested(FunctionReply))
    points = fields.Nested(ItemsReply)


class DatasetRequest(ma.Schema):
    """Body of a dataset."""

    name = fields.Str(required=True, validate=ma.validate.Length(1, 200))
    columns = fields.Dict(fields.Str(), fields.List(fields.Float(allow_none=True)), required=True)


class DatasetReply(ma.Schema):
    """Record of a dataset."""

    id = fields.Str()
    name = fields.Str()
    n_points = fields.Int()
    n_curves = fields.Int()
    x_min = fields.Float()
    x_max = fields.Float()


@app.get("/health/ready")
def ready() -> str:
    """Answer that the server is up."""
    return "ok"


@blueprint.route("/evaluate/<fit_id>", methods=["POST"])
@blueprint.arguments(PointsRequest)
@blueprint.response(200, AnswerReply)
def evaluate(points: dict[str, Any], fit_id: str) -> Any:
    """Evaluate points."""
    if fit_id != "fit":
        abort(404)
    return common.evaluate(points["x"], points["y"], points["policy"], points["tolerance_factor"])


@blueprint.route("/datasets", methods=["POST"])
@blueprint.arguments(DatasetRequest)
@blueprint.response(201, DatasetReply)
def create_dataset(dataset: dict[str, Any]) -> Any:
    """Store a dataset."""
    try:
        with common.open_session() as session:
            return common.store(session, dataset["name"], dataset["columns"])
    except common.BadColumnsError:
        abort(422)


Api(app).register_blueprint(blueprint)
