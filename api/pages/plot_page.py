"""A Bokeh figure as JSON, or as a page that works offline."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from html import escape
from typing import Any

from bokeh.embed import json_item as bokeh_item
from bokeh.models import LayoutDOM
from bokeh.resources import Resources


def make_json_item(figure: LayoutDOM) -> dict[str, Any]:
    """Make the JSON that `Bokeh.embed.embed_item` takes; it holds no NaN."""
    return dict(bokeh_item(figure))


def write_page(figure: LayoutDOM, title: str) -> str:
    """Write a page that works offline: it loads nothing from a server."""
    # A `<` in a name could end the script element.
    item = json.dumps(make_json_item(figure), allow_nan=False).replace("<", "\\u003c")
    library = _read_bokeh_js()
    return _PAGE.format(
        title=escape(title),
        policy=make_policy(),
        library=library,
        item=item,
        start=_START,
    )


_START = """\
Bokeh.embed.embed_item(JSON.parse(document.getElementById("item").textContent), "plot");
"""
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
body {{ margin: 0 auto; padding: 16px; max-width: 1400px; background: #fff; color: #222;
       font: 15px/1.45 system-ui, sans-serif; }}
</style>
<script>{library}</script>
</head>
<body>
<noscript>This plot needs JavaScript.</noscript>
<main id="plot"></main>
<script type="application/json" id="item">{item}</script>
<script>{start}</script>
</body>
</html>
"""


@functools.cache
def _read_bokeh_js() -> str:
    """Read BokehJS without widgets, tables and WebGL, which no figure here uses."""
    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)


def make_policy() -> str:
    """Return a Content-Security-Policy that allows the scripts of the page and no request."""
    return _hash_scripts(_read_bokeh_js(), _START)


@functools.cache
def _hash_scripts(*scripts: str) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )
