"""Media types of requests and replies."""

from __future__ import annotations

from services.files.formats import media_type_of

JSON = media_type_of("json")
CSV = media_type_of("csv")
TSV = media_type_of("tsv")
FORM = "multipart/form-data"
HTML = "text/html"
MERGE_PATCH = "application/merge-patch+json"
OCTETS = "application/octet-stream"
SQLITE = "application/vnd.sqlite3"
SVG = "image/svg+xml"
PNG = "image/png"
ZIP = "application/zip"
