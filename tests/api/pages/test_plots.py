"""Plots have a bounded size, show the right numbers, and ignore markup in names."""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jinja2
import numpy as np
import orjson
import pytest
from bokeh.core.property.vectorization import Value
from bokeh.models import (
    ColumnDataSource,
    HoverTool,
    LegendItem,
    Line,
    Patch,
    Plot,
    Range1d,
    Scatter,
)
from bokeh.models.dom import HTML
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from api.pages import plot_page, plots, shapes

NAN = np.nan
GRID = np.arange(10.0)
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror="alert(1)">',
    "</script><script>alert(1)</script>",
    "$$\\frac{a}{b}$$ @x{safe} $name",
    "{start} {{ title }} %s & '",
]
numbers = st.floats(allow_nan=False, allow_infinity=False, width=64)
curves = hnp.arrays(np.float64, st.integers(0, 400), elements=numbers | st.just(NAN))


def a_line(name="y", y=GRID, x=None):
    y = np.asarray(y, dtype=np.float64)
    return shapes.Line(name, np.arange(float(y.size)) if x is None else x, y)


def a_panel(**changes):
    panel = shapes.Panel(
        training="y1",
        ideal="f7",
        x=GRID,
        y=GRID + 0.1,
        grid=GRID,
        g=GRID,
        limit=0.5,
        scale=1.0,
        offset=0.0,
        score=0.1,
        max_deviation=0.35,
        n=10,
    )
    return replace(panel, **changes)


def some_points(n=4, panel=(0, 0, -1, -1), **changes):
    points = shapes.MappedPoints(
        x=np.arange(float(n)),
        y=np.arange(float(n)) + 0.25,
        deviation=np.full(n, 0.25),
        panel=np.array(panel),
        row=np.arange(n),
        column=["y"] * n,
        reason=[None if index >= 0 else "deviation" for index in panel],
    )
    return replace(points, **changes)


def no_points():
    return some_points(0, panel=np.empty(0, dtype=np.intp))


def all_of(model, figure):
    return list(figure.select({"type": model}))


def data_of(glyph, figure):
    renderers = [one for plot in all_of(Plot, figure) for one in plot.renderers]
    return [one.data_source.data for one in renderers if isinstance(one.glyph, glyph)]


def text_of(figure):
    return html.unescape(" ".join(one.html for one in all_of(HTML, figure)))


def every_figure(name="name"):
    panels = [a_panel(training=name, ideal=name)]
    points = some_points(column=[name] * 4, reason=[None, None, name, name])
    return [
        plots.draw_dataset(name, [a_line(name)], 3),
        plots.draw_fit(name, panels, 3),
        plots.draw_mapping(name, panels, points, 3, 3),
    ]


# thin


@given(y=curves, most=st.integers(8, 60))
def test_thin_is_bounded_and_keeps_ends_and_extremes(y, most):
    x = np.arange(float(y.size))
    kept_x, kept_y = shapes.thin(x, y, most)
    assert kept_x.size == kept_y.size <= most
    assert (np.diff(kept_x) > 0).all()
    assert np.array_equal(kept_y, y[kept_x.astype(int)], equal_nan=True)
    known = np.flatnonzero(~np.isnan(y))
    if known.size:
        kept = kept_y[~np.isnan(kept_y)]
        assert {known[0], known[-1]} <= set(kept_x)
        assert (kept.min(), kept.max()) == (y[known].min(), y[known].max())


@given(y=curves, most=st.integers(8, 60))
def test_thin_breaks_the_line_exactly_where_a_gap_was(y, most):
    x, thinned = shapes.thin(np.arange(float(y.size)), y, most)
    positions = x[~np.isnan(thinned)].astype(int)
    for before, after in itertools.pairwise(positions):
        had_gap = bool(np.isnan(y[before:after]).any())
        has_gap = bool(np.isnan(thinned[(x > before) & (x < after)]).any())
        assert had_gap == has_gap


@given(y=curves)
def test_thin_leaves_a_short_curve_as_it_is_and_says_the_same_twice(y):
    x = np.arange(float(y.size))
    assert shapes.thin(x, y, max(8, y.size))[1] is y
    assert np.array_equal(shapes.thin(x, y, 8)[1], shapes.thin(x, y, 8)[1], equal_nan=True)


def test_thin_keeps_every_peak_that_stands_alone():
    y = np.zeros(100_000)
    y[[777, 50_000, 99_998]] = [5, -3, 9]
    x, thinned = shapes.thin(np.arange(100_000.0), y, 1000)
    assert {777, 50_000, 99_998} <= set(x)
    assert sorted(thinned[thinned != 0]) == [-3, 5, 9]


def test_thin_of_gaps_alone_is_empty():
    assert shapes.thin(np.arange(100.0), np.full(100, NAN), 8)[0].size == 0


def test_thin_refuses_too_small_a_number():
    with pytest.raises(ValueError, match="at least 8"):
        shapes.thin(GRID, GRID, 7)


# what is drawn


def test_a_line_is_drawn_in_the_order_of_x_and_gaps_break_it():
    x = np.array([3.0, 1.0, NAN, 2.0, 5.0, 4.0])
    y = np.array([30.0, 10.0, 99.0, NAN, 50.0, 40.0])
    (data,) = data_of(Line, plots.draw_dataset("d", [a_line(y=y, x=x)], 0))
    assert list(data["x"]) == [1, 2, 3, 4, 5]
    assert np.array_equal(data["y"], [10, NAN, 30, 40, 50], equal_nan=True)


def test_a_point_between_gaps_is_a_dot():
    figure = plots.draw_dataset("d", [a_line(y=[NAN, 1, NAN, 2, 3, NAN, 4])], 0)
    (dots,) = data_of(Scatter, figure)
    assert (list(dots["x"]), list(dots["y"])) == ([1, 6], [1, 4])


def test_too_many_curves_are_left_out_and_counted():
    figure = plots.draw_dataset("d", [a_line()] * 100, 900)
    assert len(data_of(Line, figure)) == shapes.MAX_LINES
    assert "60 of 1,000 curves are shown." in text_of(figure)


def test_too_many_panels_are_left_out_and_counted():
    fit = plots.draw_fit("f", [a_panel()] * 30, 370)
    mapping = plots.draw_mapping("m", [a_panel()] * 30, no_points(), 0, 0)
    assert "12 of 400 training curves are shown." in text_of(fit)
    assert "12 of 30 chosen functions are shown." in text_of(mapping)
    assert (len(all_of(Plot, fit)), len(all_of(Plot, mapping))) == (12, 13)


def test_what_is_drawn_is_bounded_whatever_comes_in():
    x = np.arange(5_000.0)
    y = np.where(x % 7 == 0, NAN, np.sin(x / 900))
    n = shapes.MAX_POINTS + 5_000
    panels = [a_panel(x=x, y=y, grid=x, g=y)] * 20
    points = some_points(n, panel=np.arange(n) % 13 - 1)
    figures = [
        plots.draw_dataset("d", [a_line(y=y)] * 100, 0),
        plots.draw_fit("f", panels, 0),
        plots.draw_mapping("m", panels, points, 0, 0),
    ]
    for figure in figures:
        for data in data_of(Line, figure):
            assert len(data["x"]) <= shapes.MAX_DRAWN
    sources = all_of(ColumnDataSource, figures[2])
    mapped = sum(len(one.data["x"]) for one in sources if "row" in one.data)
    assert 0 < mapped <= shapes.MAX_POINTS
    assert f"{shapes.MAX_POINTS:,} of {n:,} marks are shown." in text_of(figures[2])
    assert "thinned" in text_of(figures[0])
    assert len(plot_page.write_page(figures[2], "t")) < 4_500_000


def test_the_band_is_the_function_plus_and_minus_the_limit():
    (data,) = data_of(Patch, plots.draw_fit("f", [a_panel(g=GRID**2, limit=0.5)], 0))
    assert list(data["x"][:-1]) == [*GRID, *GRID[::-1]]
    assert list(data["y"][:-1]) == [*(GRID**2 + 0.5), *(GRID**2 - 0.5)[::-1]]


def test_a_gap_parts_the_band():
    g = np.array([1.0, 2.0, NAN, 4.0])
    figure = plots.draw_fit("f", [a_panel(grid=np.arange(4.0), g=g, limit=1.0)], 0)
    (data,) = data_of(Patch, figure)
    assert np.array_equal(data["x"], [0, 1, 1, 0, NAN, 3, 3, NAN], equal_nan=True)
    assert np.array_equal(data["y"], [2, 3, 1, 0, NAN, 5, 3, NAN], equal_nan=True)


def test_an_infinite_limit_has_no_band_and_says_so():
    figure = plots.draw_fit("f", [a_panel(limit=np.inf)], 0)
    assert [len(data["x"]) for data in data_of(Patch, figure)] == [0]
    assert "limit infinite, so no band" in text_of(figure)


def test_a_panel_tells_its_numbers():
    panel = a_panel(scale=2.0, offset=-0.5, n=1)
    assert (
        "y1 → f7</h2><p>score 0.1 · largest deviation 0.35 · limit ±0.5 · 1 pair"
        " · f is drawn as 2 · f - 0.5" in text_of(plots.draw_fit("f", [panel], 0))
    )


def test_mapped_points_have_the_colour_of_their_function_and_the_others_are_grey():
    panels = [a_panel(), a_panel(ideal="f8")]
    figure = plots.draw_mapping("m", panels, some_points(panel=(1, 0, -1, 1)), 0, 0)
    (overview,) = (
        plot.renderers
        for plot in all_of(Plot, figure)
        if plot.html_attributes["aria-label"] == "Chosen functions and mapped points"
    )
    lines = {one.name: one.glyph.line_color for one in overview if isinstance(one.glyph, Line)}
    dots = [one for one in overview if isinstance(one.glyph, Scatter)]
    assert {one.name: one.glyph.fill_color for one in dots if one.name} == lines
    (grey,) = [one for one in dots if one.name is None]
    assert grey.data_source.data["reason"] == ["deviation"]
    assert list(grey.data_source.data["row"]) == [2]
    assert grey.glyph.marker == "x"
    assert grey.glyph.line_color not in lines.values()


def test_a_point_without_x_or_y_or_with_a_function_that_is_not_shown_is_counted_as_left_out():
    points = some_points(x=np.array([0, NAN, 2, 3.0]), panel=np.array([0, -1, -1, 5]))
    figure = plots.draw_mapping("m", [a_panel()], points, 1, 6)
    assert "1 of 2 chosen functions is shown. 2 of 10 marks are shown." in text_of(figure)


def test_names_may_come_as_an_array():
    points = some_points(column=np.array(["y"] * 4), reason=np.array([None, None, "a", "b"]))
    item = plot_page.make_json_item(plots.draw_mapping("m", [a_panel()], points, 0, 0))
    assert b'"y","y"' in orjson.dumps(item)


def test_panels_move_along_x_together():
    figure = plots.draw_mapping("m", [a_panel(), a_panel()], some_points(), 0, 0)
    assert len({plot.x_range.id for plot in all_of(Plot, figure)}) == 1


def test_hover_and_legend_know_names_but_no_templates_hold_them():
    for name in HOSTILE:
        for figure in every_figure(name):
            tooltips = [row for tool in all_of(HoverTool, figure) for row in tool.tooltips]
            assert tooltips
            assert not any(name in label + value for label, value in tooltips)
            assert not any("safe" in value for _, value in tooltips)
            for item in all_of(LegendItem, figure):
                assert isinstance(item.label, Value)
            for source in all_of(ColumnDataSource, figure):
                assert set(source.data) <= {"x", "y", "deviation", "row", "column", "reason"}


# edges


def test_nothing_to_draw_is_said_in_words():
    figures = [
        plots.draw_dataset("d", [], 0),
        plots.draw_fit("f", [], 0),
        plots.draw_mapping("m", [], no_points(), 0, 0),
    ]
    for figure in figures:
        assert not all_of(Plot, figure)
        assert " to draw." in text_of(figure)
        assert "<h1>" in text_of(figure)


def test_unmapped_points_are_drawn_without_any_function():
    points = some_points(panel=(-1, -1, -1, -1))
    figure = plots.draw_mapping("m", [], points, 0, 0)
    assert [len(data["x"]) for data in data_of(Scatter, figure)] == [4]


def test_a_curve_of_gaps_is_named():
    figure = plots.draw_dataset("d", [a_line("hollow", [NAN, NAN]), a_line()], 0)
    assert "Without a number: hollow." in text_of(figure)
    panel = a_panel(g=np.full(10, NAN), y=np.full(10, NAN))
    assert "the function has no numbers" in text_of(plots.draw_fit("f", [panel], 0))


@pytest.mark.parametrize(
    "values",
    [
        [NAN],
        [1.7e308, -1.7e308],
        [5e-324, 0.0],
        [1e8, 1e8 + 1e-7],
        *(
            pytest.param(values, marks=pytest.mark.thorough)
            for values in (
                [1.0],
                [5.0, 5.0, 5.0],
                [1e300, -1e300],
                [1e-300, 2e-300],
                [1.7e308, 1.7e308],
                [0.0, -0.0],
            )
        ),
    ],
)
def test_the_axes_can_be_computed_by_a_browser(values, caplog):
    y = np.array(values)
    x = np.arange(float(y.size))
    panel = a_panel(x=y, y=y, grid=y, g=y, limit=abs(values[0]))
    points = some_points(y.size, panel=np.zeros(y.size, dtype=int), x=y, y=y)
    figures = [
        plots.draw_dataset("d", [a_line(y=y, x=x), a_line(y=x, x=y)], 0),
        plots.draw_mapping("m", [panel], points, 0, 0),
    ]
    for figure in figures:
        for axis in all_of(Range1d, figure):
            length = axis.end - axis.start
            assert np.isfinite([length, 10_000 / length]).all()
            assert length > 0
        orjson.dumps(plot_page.make_json_item(figure))
    assert not caplog.records


# page and JSON


@pytest.mark.parametrize(
    "name",
    [
        HOSTILE[0],
        HOSTILE[3],
        *(pytest.param(HOSTILE[i], marks=pytest.mark.thorough) for i in (1, 2, 4)),
    ],
)
def test_a_hostile_name_is_text_in_the_page(name):
    for figure in every_figure(name):
        page = plot_page.write_page(figure, name)
        head, item, tail = _parts(page)
        assert f"<title>{html.escape(name)}</title>" in head
        assert "<" not in item
        assert json.dumps(name).replace("<", "\\u003c") in item
        assert page.lower().count("<script") == page.lower().count("</script>") == 3
        for heading in all_of(HTML, figure):
            assert html.escape(name) in heading.html
        assert "alert" not in tail


def _parts(page):
    # Before the data, the data, behind the data.
    head, rest = page.split('<script type="application/json" id="item">')
    item, tail = rest.split("</script>", 1)
    return head, item, tail


def test_the_page_asks_for_nothing():
    for figure in every_figure():
        page = plot_page.write_page(figure, "t")
        for tag in re.findall(r"<(?:script|link|img|iframe)[^>]{0,300}>", page):
            assert "http:" not in tag
            assert "https:" not in tag
            assert "src=" not in tag
        assert '<html lang="en">' in page
        assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page


def test_the_policy_of_the_page_allows_its_own_scripts_and_no_others():
    page = plot_page.write_page(every_figure()[0], "t")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()) for one in scripts]
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert len(scripts) == 2
    assert re.findall(r"'sha256-([^']*)'", policy) == [one.decode() for one in digests]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_the_item_goes_through_json_and_is_the_one_in_the_page(caplog):
    for figure in every_figure("y₁"):
        item = plot_page.make_json_item(figure)
        assert orjson.loads(orjson.dumps(item)) == json.loads(json.dumps(item, allow_nan=False))
        assert set(item) >= {"doc", "root_id", "version"}
        shown = json.loads(_parts(plot_page.write_page(figure, "t"))[1])
        assert shown["root_id"] == item["root_id"]
    assert not caplog.records


# the start page


def home(**lists):
    folder = Path(plots.__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    given_lists = {"datasets": [], "fits": [], "mappings": [], **lists}
    return environment.get_template("home.html").render(
        base_url="http://host/", root="", version="1.2.3", **given_lists
    )


def a_record(**fields):
    return SimpleNamespace(id="a b", name=HOSTILE[0], created_at="2025-01-02T03:04:05Z", **fields)


def test_the_empty_start_page_tells_what_to_do():
    page = home()
    assert page.startswith("<!DOCTYPE html>")
    assert "curl -F file=@train.csv http://host/v1/datasets" in page
    assert all(f'href="{where}"' in page for where in ("/docs", "/openapi.json"))


def test_the_start_page_lists_what_is_stored():
    fit = {"criterion": "sse", "transform": "none", "n_training": 4, "n_ideal": 50}
    mapping = {"policy": "all", "n_points": 1000, "mapped_points": None}
    page = home(
        datasets=[a_record(n_points=20_000_000, n_curves=50)],
        fits=[a_record(state="succeeded", **fit), a_record(state="running", **fit)],
        mappings=[a_record(state="queued", **mapping)],
    )
    assert "20,000,000" in page
    assert page.count('href="/v1/datasets/a%20b/plot"') == 1
    assert page.count('href="/v1/fits/a%20b/plot"') == 1
    assert 'href="/v1/mappings/a%20b/plot"' not in page
    assert HOSTILE[0] not in page
    assert html.escape(HOSTILE[0]) in page


@pytest.mark.parametrize("datasets", [[], [a_record(n_points=1, n_curves=1)]])
def test_the_start_page_keeps_to_its_policy(datasets):
    own = '<script src="/static/home.js" defer></script>'
    page = home(datasets=datasets)
    assert page.count(own) == 1
    page = page.replace(own, "")
    assert not re.search(r"<script|<style|style=|\son\w+=|javascript:", page)
    assert not re.search(r"(?:src|href)=\"(?!/)", page.replace('href="#', 'href="/#'))
