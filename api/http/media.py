"""Media types of requests and replies."""

from __future__ import annotations

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
HTML = "text/html"
SQLITE = "application/vnd.sqlite3"
SVG = "image/svg+xml"
PNG = "image/png"
