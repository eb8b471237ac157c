"""Plots of what is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from flask import Response, g
from marshmallow import fields
from sqlalchemy.orm import Session

from api import slots
from api.headers import PICTURE
from api.http.downloads import disposition
from api.http.media import HTML, JSON
from api.http.replies import computed
from api.http.room import Room
from api.pages.shapes import MAX_LINES, MAX_PANELS, MAX_POINTS, Line, MappedPoints, Panel
from api.running import database
from api.schemas.base import Reply
from api.store.base import find
from api.store.datasets import Dataset, curve_names, read_curves, read_grid
from api.store.fits import Fit, FitMatch, chosen
from api.store.jobs import require_succeeded
from api.store.mappings import ItemFilter, Mapping, page_of_items, point_columns
from services.mapping.limits import admission_limits
from services.tables import FloatArray

room = Room("plots", prefix="/v1", description="Pictures of datasets, fits and mappings.")

MOST_NUMBERS = 8_000_000
"""Values of curves that are read for one plot (64 MB)."""

PICTURE_NUMBERS = 1 + slots.SMALL_NUMBERS
"""A picture is as heavy as a plot of so many numbers, at least."""

DEFAULT_FACTOR = float(np.sqrt(2))
"""A fit has no tolerance yet; its band shows the one a mapping takes by default."""


SVG, PNG = "image/svg+xml", "image/png"
_ENDINGS = {SVG: ".svg", PNG: ".png"}


class PlotReply(Reply):
    """Bokeh's json_item, which `Bokeh.embed.embed_item` of BokehJS draws."""

    target_id = fields.String(
        required=True, allow_none=True, metadata={"description": "Id of an element of the page."}
    )
    root_id = fields.String(required=True)
    doc = fields.Dict(required=True, metadata={"description": "The document, as Bokeh writes it."})
    version = fields.String(
        required=True, metadata={"description": "The version that BokehJS must have."}
    )


def plotted(function: Any) -> Any:
    """Document the formats of a plot."""
    formats: dict[str, Any] = {
        PNG: {"type": "string", "format": "binary"},
        SVG: {"type": "string"},
        JSON: PlotReply,
        HTML: {"type": "string"},
    }
    for content_type, schema in formats.items():
        function = room.response(200, schema, content_type=content_type)(function)
    return room.offers(HTML, JSON, SVG, PNG)(room.problems(404)(function))


def _reply(noun: str, title: str, numbers: int, read: Callable[[], Sequence[Any]]) -> Response:
    """The plot of what `dataset`, `fit` or `mapping` takes, in the format of `g.media`.

    `read` gives that; about so many `numbers` are read for it.
    """
    if g.media in _ENDINGS:
        headers = {
            "Content-Disposition": disposition("inline", title, _ENDINGS[g.media]),
            "Content-Security-Policy": PICTURE,
        }
        # A picture takes its time, however few numbers it shows.
        numbers = max(numbers, PICTURE_NUMBERS)
        return computed(lambda: _picture(noun, title, read()), g.media, headers, numbers=numbers)
    kind, headers = JSON, {}
    if g.media == HTML:
        from api.pages import plots  # noqa: PLC0415

        # A policy inside the page cannot forbid frames.
        policy = f"{plots.page_policy()}; frame-ancestors 'none'"
        kind, headers = "text/html; charset=utf-8", {"Content-Security-Policy": policy}
    return computed(lambda: _drawing(noun, title, read()), kind, headers, numbers=numbers)


# Bokeh and Matplotlib take a second to load, a third of what the service takes to start, and most
# processes never draw.


def _picture(noun: str, title: str, parts: Sequence[Any]) -> Any:
    from api.pages import pictures  # noqa: PLC0415

    picture = getattr(pictures, f"{noun}_picture")(title, *parts)
    return picture.save("svg" if g.media == SVG else "png")


def _drawing(noun: str, title: str, parts: Sequence[Any]) -> Any:
    from api.pages import plots  # noqa: PLC0415

    figure = getattr(plots, f"{noun}_figure")(title, *parts)
    if g.media == HTML:
        return plots.page(figure, title)
    return orjson.dumps(plots.json_item(figure))


@room.route("/datasets/<dataset_id>/plot", methods=["GET"])
@plotted
def plot_dataset(dataset_id: str) -> Any:
    """Plot the curves of a dataset

    As a page that works offline, as Bokeh's json_item, or as a picture.
    """
    with database().reading() as session:
        dataset = find(session, Dataset, dataset_id)
    most = max(1, MOST_NUMBERS // dataset.n_points)
    count = min(dataset.n_curves, MAX_LINES, most)
    numbers = (count + 1) * dataset.n_points
    return _reply("dataset", dataset.name, numbers, lambda: _dataset_parts(dataset_id, count))


def _dataset_parts(dataset_id: str, count: int) -> tuple[list[Line], int]:
    shown = np.arange(count)
    with database().reading() as session:
        dataset = find(session, Dataset, dataset_id)
        names = curve_names(session, dataset, shown.tolist())
        x = read_grid(session, dataset)
        curves = read_curves(session, dataset, shown)
    lines = [Line(names[i], x, y) for i, y in enumerate(curves)]
    return lines, dataset.n_curves - len(lines)


@room.route("/fits/<fit_id>/plot", methods=["GET"])
@plotted
@room.problems(409)
def plot_fit(fit_id: str) -> Any:
    """Plot a fit

    Each training curve with its chosen function and the band of ± max_deviation × √2.
    """
    with database().reading() as session:
        fit = find(session, Fit, fit_id)
        require_succeeded(fit, "plotted")
        numbers = _numbers(session, fit)
    return _reply("fit", fit.name, numbers, lambda: _fit_parts(fit_id))


def _fit_parts(fit_id: str) -> tuple[list[Panel], int]:
    with database().reading() as session:
        fit = find(session, Fit, fit_id)
        matches = list(chosen(session, fit))
        panels = _panels(session, fit, matches[:MAX_PANELS], DEFAULT_FACTOR)
    return panels, len(matches) - len(panels)


def _numbers(session: Session, fit: Fit) -> int:
    """Numbers that are read for the panels of a fit."""
    sides = (find(session, Dataset, fit.training_id), find(session, Dataset, fit.ideal_id))
    return min(fit.n_training, MAX_PANELS) * sum(side.n_points for side in sides)


@room.route("/mappings/<mapping_id>/plot", methods=["GET"])
@plotted
@room.problems(409)
def plot_mapping(mapping_id: str) -> Any:
    """Plot a mapping

    The chosen functions with their bands, the mapped points in the colour of their function,
    the others apart.
    """
    with database().reading() as session:
        mapping = find(session, Mapping, mapping_id)
        require_succeeded(mapping, "plotted")
        numbers = mapping.n_points + _numbers(session, find(session, Fit, mapping.fit_id))
    return _reply("mapping", mapping.name, numbers, lambda: _mapping_parts(mapping_id))


def _mapping_parts(mapping_id: str) -> Sequence[Any]:
    with database().reading() as session:
        return mapping_parts(session, find(session, Mapping, mapping_id))


def mapping_parts(session: Session, mapping: Mapping) -> tuple[list[Panel], MappedPoints, int, int]:
    """What the plot of a mapping shows: panels, points, and how many of each are left out."""
    require_succeeded(mapping, "plotted")
    fit = find(session, Fit, mapping.fit_id)
    matches = _chosen(session, fit)
    panels = _panels(session, fit, matches[:MAX_PANELS], mapping.tolerance_factor)
    wanted = ItemFilter(functions=[-1, *range(len(panels))])
    items = page_of_items(session, mapping, wanted, limit=MAX_POINTS).items
    named = point_columns(items, mapping.columns, mapping.functions)
    points = MappedPoints(
        x=items["x"],
        y=items["y"],
        deviation=items["deviation"],
        panel=items["function"].astype(np.intp),
        row=items["point"].astype(np.intp),
        column=named["column"],
        reason=named["reason"],
    )
    left_out = mapping.n_assignments + mapping.unmapped_points - len(items)
    return panels, points, len(matches) - len(panels), left_out


def _chosen(session: Session, fit: Fit) -> list[FitMatch]:
    require_succeeded(fit, "plotted")
    return list(chosen(session, fit))


def _panels(session: Session, fit: Fit, matches: list[FitMatch], factor: float) -> list[Panel]:
    training = find(session, Dataset, fit.training_id)
    ideal = find(session, Dataset, fit.ideal_id)
    x, grid = read_grid(session, training), read_grid(session, ideal)
    measured = read_curves(session, training, np.array([m.training_index for m in matches]))
    library = read_curves(session, ideal, np.array([m.ideal_index for m in matches]))
    return [
        _panel(match, (x, y), (grid, f), factor)
        for match, y, f in zip(matches, measured, library, strict=True)
    ]


def _panel(
    match: FitMatch,
    measured: tuple[FloatArray, FloatArray],
    library: tuple[FloatArray, FloatArray],
    factor: float,
) -> Panel:
    deviation = np.array([match.max_deviation], dtype=np.float64)
    with np.errstate(over="ignore"):
        g_values = match.scale * library[1] + match.offset
    return Panel(
        training=match.training,
        ideal=match.ideal,
        x=measured[0],
        y=measured[1],
        grid=library[0],
        g=g_values,
        limit=float(admission_limits(deviation, factor)[0]),
        scale=match.scale,
        offset=match.offset,
        score=match.score,
        max_deviation=float(deviation[0]),
        n=match.n,
    )
