"""Plots of what is stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from flask import Response, g
from sqlalchemy.orm import Session

from api.http import HTML, JSON, Room, database
from api.pages import plots
from api.store.base import NotReady, find
from api.store.datasets import Dataset, curve_names, read_curves, read_grid
from api.store.fits import Fit, FitMatch, chosen
from api.store.mappings import ItemFilter, Mapping, page_of_items, point_columns
from services.mapping import limits
from services.tables import FloatArray

room = Room("plots", prefix="/v1", description="Pictures of datasets, fits and mappings.")

MOST_NUMBERS = 8_000_000
"""Values of curves that are read for one plot (64 MB)."""

DEFAULT_FACTOR = float(np.sqrt(2))
"""A fit has no tolerance yet; its band shows the one a mapping takes by default."""


def plotted(function: Any) -> Any:
    """Document the formats of a plot."""
    for content_type, schema in ((JSON, {"type": "object"}), (HTML, {"type": "string"})):
        function = room.response(200, schema, content_type=content_type)(function)
    return room.offers(HTML, JSON)(room.problems(404)(function))


def _reply(figure: Any, title: str) -> Response:
    if g.media == HTML:
        return Response(plots.page(figure, title), content_type="text/html; charset=utf-8")
    return Response(orjson.dumps(plots.json_item(figure)), content_type=JSON)


@room.route("/datasets/<dataset_id>/plot", methods=["GET"])
@plotted
def plot_dataset(dataset_id: str) -> Any:
    """Plot the curves of a dataset

    As a page that works offline, or as Bokeh's json_item.
    """
    with database().reading() as session:
        dataset = find(session, Dataset, dataset_id)
        most = max(1, MOST_NUMBERS // dataset.n_points)
        shown = np.arange(min(dataset.n_curves, plots.MAX_LINES, most))
        names = curve_names(session, dataset, shown.tolist())
        x = read_grid(session, dataset)
        curves = read_curves(session, dataset, shown)
    lines = [plots.Line(names[i], x, y) for i, y in enumerate(curves)]
    figure = plots.dataset_figure(dataset.name, lines, dataset.n_curves - len(lines))
    return _reply(figure, dataset.name)


@room.route("/fits/<fit_id>/plot", methods=["GET"])
@plotted
@room.problems(409)
def plot_fit(fit_id: str) -> Any:
    """Plot a fit

    Each training curve with its chosen function and the band of ± max_deviation × √2.
    """
    with database().reading() as session:
        fit = find(session, Fit, fit_id)
        matches = _chosen(session, fit)
        panels = _panels(session, fit, matches[: plots.MAX_PANELS], DEFAULT_FACTOR)
    figure = plots.fit_figure(fit.name, panels, len(matches) - len(panels))
    return _reply(figure, fit.name)


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
        figure = mapping_figure(session, mapping)
    return _reply(figure, mapping.name)


def mapping_figure(session: Session, mapping: Mapping) -> Any:
    """The picture of a mapping."""
    fit = find(session, Fit, mapping.fit_id)
    matches = _chosen(session, fit)
    panels = _panels(session, fit, matches[: plots.MAX_PANELS], mapping.tolerance_factor)
    wanted = ItemFilter(functions=[-1, *range(len(panels))])
    items = page_of_items(session, mapping, wanted, limit=plots.MAX_POINTS).items
    named = point_columns(items, mapping.columns, mapping.functions)
    points = plots.MappedPoints(
        x=items["x"],
        y=items["y"],
        deviation=items["deviation"],
        panel=items["function"].astype(np.intp),
        row=items["point"].astype(np.intp),
        column=named["column"],
        reason=named["reason"],
    )
    left_out = mapping.n_assignments + mapping.unmapped_points - len(items)
    return plots.mapping_figure(mapping.name, panels, points, len(matches) - len(panels), left_out)


def _chosen(session: Session, fit: Fit) -> list[FitMatch]:
    if fit.state != "succeeded":
        raise NotReady(f"The fit is {fit.state}; only a fit that succeeded can be plotted.")
    return list(chosen(session, fit))


def _panels(
    session: Session, fit: Fit, matches: list[FitMatch], factor: float
) -> list[plots.Panel]:
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
) -> plots.Panel:
    deviation = np.array([match.max_deviation], dtype=np.float64)
    with np.errstate(over="ignore"):
        g_values = match.scale * library[1] + match.offset
    return plots.Panel(
        training=match.training,
        ideal=match.ideal,
        x=measured[0],
        y=measured[1],
        grid=library[0],
        g=g_values,
        limit=float(limits(deviation, factor)[0]),
        scale=match.scale,
        offset=match.offset,
        score=match.score,
        max_deviation=float(deviation[0]),
        n=match.n,
    )
