"""Plots of datasets, fits and mappings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson
from flask import Response, g
from marshmallow import fields
from sqlalchemy.orm import Session

from api import slots
from api.headers import PICTURE
from api.http.blueprint import Handler, StrictBlueprint
from api.http.downloads import disposition
from api.http.media import HTML, JSON, PNG, SVG
from api.http.replies import compute_reply
from api.pages.long_lines import XY, thin_pieces
from api.pages.shapes import (
    MAX_LINES,
    MAX_PANELS,
    MAX_POINTS,
    DatasetScene,
    FitScene,
    Line,
    MappedPoints,
    MappingScene,
    Panel,
    Scene,
    shorten,
)
from api.running import database
from api.schemas.base import Reply
from api.store.base import find
from api.store.datasets import Dataset, read_curve_names, read_gap_counts, read_grid
from api.store.fits import Fit, FitMatch, read_chosen
from api.store.jobs import require_succeeded
from api.store.labels import NO_LABEL, read_labels
from api.store.mappings import ItemFilter, Mapping, make_point_columns, read_page_of_items
from api.store.selections import read_curves
from api.store.values import X, stream_rows
from services.mapping.functions import apply_transform
from services.mapping.limits import admission_limits
from services.mapping.options import MapOptions
from services.tables import FloatArray

blueprint = StrictBlueprint(
    "plots", prefix="/v1", description="Pictures of datasets, fits and mappings."
)

MOST_NUMBERS = 8_000_000
"""Values of curves that are read for one plot (64 MB), unless a single curve has more."""

WHOLE_NUMBERS = 1 << 20
"""Values up to which curves are read whole (8 MB); longer ones are thinned while they are read."""

UNIT_SHOWN = 40
"""Most characters of a unit in the title of an axis."""

PICTURE_NUMBERS = 1 + slots.SMALL_NUMBERS
"""Least weight of a picture, in numbers of a plot."""


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


Read = Callable[[], Scene]
"""Function that reads the content of a plot."""

# Bokeh and Matplotlib are imported when something is drawn: that takes a second, a third of the
# start of the service, and most processes never draw.


def _send_page(title: str, numbers: int, read: Read) -> Response:
    from api.pages import plot_page, plots  # noqa: PLC0415

    # A policy inside the page cannot forbid frames.
    headers = {"Content-Security-Policy": f"{plot_page.make_policy()}; frame-ancestors 'none'"}
    kind = "text/html; charset=utf-8"
    return compute_reply(
        lambda: plot_page.write_page(plots.draw(read()), title), kind, headers, numbers=numbers
    )


def _send_json(_title: str, numbers: int, read: Read) -> Response:
    def draw() -> bytes:
        from api.pages import plot_page, plots  # noqa: PLC0415

        return orjson.dumps(plot_page.make_json_item(plots.draw(read())))

    return compute_reply(draw, JSON, numbers=numbers)


def _send_svg(title: str, numbers: int, read: Read) -> Response:
    return _send_picture(title, numbers, read, SVG, "svg")


def _send_png(title: str, numbers: int, read: Read) -> Response:
    return _send_picture(title, numbers, read, PNG, "png")


def _send_picture(
    title: str, numbers: int, read: Read, media: str, kind: Literal["svg", "png"]
) -> Response:
    def draw() -> bytes:
        from api.pages import pictures  # noqa: PLC0415

        return pictures.draw(read()).save(kind)

    headers = {
        "Content-Disposition": disposition("inline", title, f".{kind}"),
        "Content-Security-Policy": PICTURE,
    }
    # A picture takes its time, however few numbers it shows.
    return compute_reply(draw, media, headers, numbers=max(numbers, PICTURE_NUMBERS))


@dataclass(frozen=True, slots=True)
class PlotFormat:
    """A format of plots: its schema in the OpenAPI document, and the function that sends it."""

    schema: Any
    send: Callable[[str, int, Read], Response]


FORMATS = {
    HTML: PlotFormat({"type": "string"}, _send_page),
    JSON: PlotFormat(PlotReply, _send_json),
    SVG: PlotFormat({"type": "string"}, _send_svg),
    PNG: PlotFormat({"type": "string", "format": "binary"}, _send_png),
}
"""The formats of plots; a client that accepts anything gets the first."""


def offers_plots(function: Handler) -> Handler:
    """Document and negotiate the formats of a plot."""
    for media, form in FORMATS.items():
        function = blueprint.response(200, form.schema, content_type=media)(function)
    return blueprint.offers(*FORMATS)(blueprint.problems(404)(function))


def send_plot(title: str, numbers: int, read: Read) -> Response:
    """Draw a plot in the format that the client accepts; about `numbers` are read for it."""
    return FORMATS[g.media].send(title, numbers, read)


@blueprint.route("/datasets/<dataset_id>/plot", methods=["GET"])
@offers_plots
def plot_dataset(dataset_id: str) -> Any:
    """Plot the curves of a dataset

    As a page that works offline, as Bokeh's json_item, or as a picture.
    """
    with database().reading() as session:
        dataset = find(session, Dataset, dataset_id)
    most = max(1, MOST_NUMBERS // dataset.n_points)
    count = min(dataset.n_curves, MAX_LINES, most)
    numbers = (count + 1) * dataset.n_points
    return send_plot(dataset.name, numbers, lambda: _read_dataset(dataset_id, count))


def _read_dataset(dataset_id: str, count: int) -> DatasetScene:
    with database().reading() as session:
        dataset = find(session, Dataset, dataset_id)
        names = read_curve_names(session, dataset, range(count))
        curves = _read_curves(session, dataset, range(count))
        labels = read_labels(session, dataset_id, range(count))
    n = dataset.n_points
    lines = [Line(names[index], x, y, n) for index, (x, y) in enumerate(curves)]
    units = {labels.get(index, NO_LABEL).unit for index in range(len(lines))}
    axes = _title("x", dataset.x_unit), _title("y", units.pop() if len(units) == 1 else None)
    return DatasetScene(dataset.name, lines, dataset.n_curves - len(lines), axes)


def _title(axis: str, unit: str | None) -> str:
    """Write the title of an axis with the unit of its numbers."""
    return f"{axis} [{shorten(unit, UNIT_SHOWN)}]" if unit else axis


@blueprint.route("/fits/<fit_id>/plot", methods=["GET"])
@offers_plots
@blueprint.problems(409)
def plot_fit(fit_id: str) -> Any:
    """Plot a fit

    Each training curve with its chosen function and the band of ± max_deviation × √2.
    """
    with database().reading() as session:
        fit = find(session, Fit, fit_id)
        require_succeeded(fit, "plotted")
        numbers = _count_numbers(session, fit)
    return send_plot(fit.name, numbers, lambda: _read_fit(fit_id))


def _read_fit(fit_id: str) -> FitScene:
    with database().reading() as session:
        fit = find(session, Fit, fit_id)
        matches = list(read_chosen(session, fit))
        # A fit has no tolerance; its band is the one of a mapping that names none.
        panels = _read_panels(session, fit, matches, MapOptions().tolerance_factor)
    return FitScene(fit.name, panels, len(matches) - len(panels))


def _count_numbers(session: Session, fit: Fit) -> int:
    """Count the numbers that are read for the panels of a fit."""
    sides = (find(session, Dataset, fit.training_id), find(session, Dataset, fit.ideal_id))
    return min(fit.n_training, _count_panels(*sides)) * sum(side.n_points for side in sides)


def _count_panels(training: Dataset, ideal: Dataset) -> int:
    """Return how many panels of a fit are drawn at most."""
    return min(MAX_PANELS, max(1, MOST_NUMBERS // (training.n_points + ideal.n_points)))


@blueprint.route("/mappings/<mapping_id>/plot", methods=["GET"])
@offers_plots
@blueprint.problems(409)
def plot_mapping(mapping_id: str) -> Any:
    """Plot a mapping

    The chosen functions with their bands, the mapped points in the colour of their function,
    the others apart.
    """
    with database().reading() as session:
        mapping = find(session, Mapping, mapping_id)
        require_succeeded(mapping, "plotted")
        numbers = mapping.n_points + _count_numbers(session, find(session, Fit, mapping.fit_id))
    return send_plot(mapping.name, numbers, lambda: _read_mapping(mapping_id))


def _read_mapping(mapping_id: str) -> MappingScene:
    with database().reading() as session:
        mapping = find(session, Mapping, mapping_id)
        require_succeeded(mapping, "plotted")
        fit = find(session, Fit, mapping.fit_id)
        matches = list(read_chosen(session, fit))
        panels = _read_panels(session, fit, matches, mapping.tolerance_factor)
        wanted = ItemFilter(functions=[-1, *range(len(panels))])
        items = read_page_of_items(session, mapping, wanted, limit=MAX_POINTS).items
    named = make_point_columns(items, mapping.columns, mapping.functions)
    points = MappedPoints(
        x=items["x"],
        y=items["y"],
        deviation=items["deviation"],
        panel=items["function"].astype(np.intp),
        row=items["point"].astype(np.intp),
        column=named["column"],
        reason=named["reason"],
    )
    points_left_out = mapping.n_assignments + mapping.unmapped_points - len(items)
    left_out = len(matches) - len(panels)
    return MappingScene(mapping.name, panels, points, left_out, points_left_out)


def _read_panels(
    session: Session, fit: Fit, matches: list[FitMatch], tolerance_factor: float
) -> list[Panel]:
    training = find(session, Dataset, fit.training_id)
    ideal = find(session, Dataset, fit.ideal_id)
    # A transform keeps the extremes of a curve, so it can be thinned before.
    matches = matches[: _count_panels(training, ideal)]
    measured = _read_curves(session, training, [m.training_index for m in matches])
    functions = _read_curves(session, ideal, [m.ideal_index for m in matches])
    deviations = np.array([match.max_deviation for match in matches], dtype=np.float64)
    limits = admission_limits(deviations, tolerance_factor)
    return [
        Panel(
            training=match.training,
            ideal=match.ideal,
            x=x,
            y=y,
            grid=grid,
            g=apply_transform(f, match.scale, match.offset),
            limit=float(limit),
            scale=match.scale,
            offset=match.offset,
            score=match.score,
            max_deviation=float(deviation),
            n=match.n,
            n_points=max(training.n_points, ideal.n_points),
        )
        for match, (x, y), (grid, f), limit, deviation in zip(
            matches, measured, functions, limits, deviations, strict=True
        )
    ]


def _read_curves(session: Session, dataset: Dataset, indices: Sequence[int]) -> list[XY]:
    """Read x and y of curves, thinned if they are long."""
    chosen = np.array(indices, dtype=np.intp)
    if (chosen.size + 1) * dataset.n_points <= WHOLE_NUMBERS:
        x = read_grid(session, dataset)
        return [(x, y) for y in read_curves(session, dataset, chosen)]
    gaps = read_gap_counts(session, dataset, indices)
    # Without any x there is nothing to draw.
    ends = dataset.x_min or 0.0, dataset.x_max or 0.0
    return thin_pieces(_Pieces(session, dataset, indices), gaps, ends)


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Stored curves that are read some rows at a time."""

    session: Session
    dataset: Dataset
    indices: Sequence[int]

    @property
    def n_points(self) -> int:
        return self.dataset.n_points

    def read_x(self) -> Iterator[FloatArray]:
        for values in self._read([X], backwards=False):
            yield values[0]

    def read(self, *, backwards: bool) -> Iterator[XY]:
        for values in self._read([X, *self.indices], backwards=backwards):
            yield values[0], values[1:]

    def _read(self, columns: list[int], *, backwards: bool) -> Iterator[FloatArray]:
        n = self.dataset.n_points
        return stream_rows(self.session, self.dataset, columns, 0, n, backwards=backwards)
