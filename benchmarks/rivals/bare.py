"""Bare Flask routes without any check: one sends canned bytes, one computes the reply."""

from __future__ import annotations

import os
import uuid

import numpy as np
import orjson
from flask import Flask, Response, request
from sqlalchemy import insert

from benchmarks.rivals import common

app = Flask(__name__)
ANSWER = os.environ["PEER_ANSWER"].encode()
JSON = "application/json"


@app.get("/health/ready")
def ready() -> str:
    """Answer that the server is up."""
    return "ok"


@app.post("/canned")
def send_canned() -> Response:
    """Parse the body and send bytes that were computed before."""
    orjson.loads(request.get_data())
    return Response(ANSWER, content_type=JSON)


@app.post("/evaluate/fit")
def evaluate() -> Response:
    """Parse the body, compute the reply and send it."""
    body = orjson.loads(request.get_data())
    found = common.evaluate(body["x"], body["y"], "all", 2**0.5)
    return Response(orjson.dumps(found), content_type=JSON)


@app.post("/datasets")
def create_dataset() -> Response:
    """Parse a dataset into an array and store its bytes with one insert."""
    fields = orjson.loads(request.get_data())
    values = np.array(list(fields["columns"].values()), dtype=float)
    record = uuid.uuid4().hex
    row = {"name": fields["name"], "n_points": values.shape[1], "n_curves": len(values) - 1}
    row |= {"id": record, "x": values[0].tobytes(), "y": values[1:].tobytes()}
    with common.ENGINE.begin() as connection:
        connection.execute(insert(common.StoredDataset), row)
    return Response(orjson.dumps({"id": record}), 201, content_type=JSON)
