"""A minimal Flask service, with which requests_per_second.py compares Idealfit."""

from __future__ import annotations

import os
import sqlite3
import threading
import uuid

import numpy as np
import orjson
from flask import Flask, Response, request

app = Flask(__name__)
local = threading.local()
ANSWER = os.environ.get("BARE_ANSWER", "{}").encode()


@app.get("/health/ready")
def ready() -> str:
    """Answer that the server is up."""
    return "ok"


@app.post("/evaluate")
def evaluate() -> Response:
    """Read the same body and send the same bytes."""
    orjson.loads(request.get_data())
    return Response(ANSWER, content_type="application/json")


@app.post("/datasets")
def datasets() -> Response:
    """Parse a dataset into an array and store its bytes with one insert."""
    columns = orjson.loads(request.get_data())["columns"]
    values = np.array(list(columns.values()), dtype=np.float64)
    connection = database()
    record = uuid.uuid4().hex
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO bare VALUES (?, ?)", (record, values.tobytes()))
    connection.execute("COMMIT")
    return Response(orjson.dumps({"id": record}), 201, content_type="application/json")


def database() -> sqlite3.Connection:
    """Return one connection per thread, with the PRAGMAs of the service."""
    if not hasattr(local, "connection"):
        local.connection = sqlite3.connect(os.environ["BARE_FILE"], isolation_level=None)
        for pragma in (
            "page_size=16384",
            "auto_vacuum=INCREMENTAL",
            "busy_timeout=10000",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            local.connection.execute(f"PRAGMA {pragma}")
        local.connection.execute("CREATE TABLE IF NOT EXISTS bare (id TEXT PRIMARY KEY, data BLOB)")
    return local.connection
