"""Pictures have the same bytes each time, have a bounded size, and ignore markup in names."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from api.pages import picture_parts, pictures, shapes
from tests.api.pages.test_plots import HOSTILE, a_line, a_panel, no_points, some_points

NAN = np.nan
KINDS = ["png", "svg"]
SVG = "{http://www.w3.org/2000/svg}"


def every_picture(name="name"):
    panels = [a_panel(training=name, ideal=name), a_panel(ideal="f8")]
    points = some_points(column=[name] * 4, reason=[None, None, name, name])
    return [
        pictures.draw_dataset(name, [a_line(name)], 3),
        pictures.draw_fit(name, panels, 3),
        pictures.draw_mapping(name, panels, points, 3, 3),
    ]


def size_of(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_picture_has_the_same_bytes(kind):
    first = [picture.save(kind) for picture in every_picture()]
    assert first == [picture.save(kind) for picture in every_picture()]
    assert not any(re.search(rb"20\d\d-\d\d-\d\d|matplotlib v", data) for data in first)


def test_threads_do_not_disturb_each_other():
    expected, found = every_picture()[2].save("svg"), []
    threads = [
        threading.Thread(target=lambda: found.append(every_picture()[2].save("svg")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


NAMES = [HOSTILE[0], "$\\frac{", "", "\x7f\x00"]
"""A name of each kind: markup, mathematics, nothing, and characters that cannot be drawn."""


@pytest.mark.parametrize(
    "name",
    [
        *NAMES,
        *(
            pytest.param(name, marks=pytest.mark.thorough)
            for name in [*HOSTILE[1:], "$x$", "温度 😀 é", "a" * 200]
        ),
    ],
)
def test_a_name_is_text_and_nothing_else(name):
    for picture in every_picture(name):
        size_of(picture.save("png"))
        root = ET.fromstring(picture.save("svg"))  # noqa: S314 - our own picture
        tags = {node.tag.removeprefix(SVG) for node in root.iter() if node.tag.startswith(SVG)}
        assert tags <= {
            "svg",
            "title",
            "metadata",
            "defs",
            "style",
            "g",
            "path",
            "use",
            "clipPath",
            "rect",
        }
        links = {v for node in root.iter() for k, v in node.attrib.items() if k.endswith("href")}
        assert all(link.startswith("#") for link in links)


NUMBERS = [[NAN], [1.7e308, -1.7e308], [5e-324, 0.0], [1e8, 1e8 + 1e-7]]
"""Nothing, the largest, the smallest, and two that no axis tells apart."""


@pytest.mark.parametrize(
    "values",
    [
        *NUMBERS,
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
def test_any_numbers_can_be_drawn(values):
    """Warnings are errors here."""
    y = np.array(values)
    x = np.arange(float(y.size))
    panel = a_panel(x=y, y=y, grid=y, g=y, limit=abs(values[0]))
    points = some_points(y.size, panel=np.zeros(y.size, dtype=int), x=y, y=y)
    for picture in (
        pictures.draw_dataset("d", [a_line(y=y, x=x), a_line(y=x, x=y)], 0),
        pictures.draw_fit("f", [panel, a_panel(limit=np.inf)], 0),
        pictures.draw_mapping("m", [panel], points, 0, 0),
    ):
        assert size_of(picture.save("png"))[0] == round(picture_parts.WIDTH * picture_parts.DPI)


def test_nothing_to_draw_is_a_picture_too():
    for picture in (
        pictures.draw_dataset("d", [], 0),
        pictures.draw_fit("f", [], 0),
        pictures.draw_mapping("m", [], no_points(), 0, 0),
        pictures.draw_mapping("m", [], some_points(panel=(-1, -1, -1, -1)), 0, 0),
    ):
        assert len(picture.save("png")) > 1000


@pytest.mark.thorough
@pytest.mark.slow
def test_what_is_drawn_is_bounded_whatever_comes_in():
    x = np.arange(5_000.0)
    y = np.where(x % 7 == 0, NAN, np.sin(x / 900))
    n = shapes.MAX_POINTS + 5_000
    points = some_points(n, panel=np.arange(n) % 13 - 1)
    picture = pictures.draw_mapping("m", [a_panel(x=x, y=y, grid=x, g=y)] * 20, points, 0, 0)
    assert len(picture.figure.axes) == 1 + shapes.MAX_PANELS
    drawn = max(line.get_xdata().size for axes in picture.figure.axes for line in axes.lines)
    assert drawn <= shapes.MAX_POINTS
    assert size_of(picture.save("png"))[1] < 4000
    assert len(picture.save("svg")) < 12_000_000
    many = pictures.draw_dataset("d", [a_line(y=y)] * 100, 0)
    (axes,) = many.figure.axes
    assert len(axes.get_legend().get_texts()) == shapes.MAX_LINES


def test_a_name_that_begins_with_an_underscore_is_in_the_legend():
    picture = pictures.draw_dataset("d", [a_line(name="_y1"), a_line(name="y2")], 0)
    (axes,) = picture.figure.axes
    assert [text.get_text().strip() for text in axes.get_legend().get_texts()] == ["_y1", "y2"]


def test_functions_differ_in_more_than_colour():
    """In black and white dashes and markers tell them apart."""
    panels = [a_panel(training=f"y{i}") for i in range(5)]
    points = some_points(5, panel=range(5))
    picture = pictures.draw_mapping("m", panels, points, 0, 0)
    handles = picture.figure.axes[0].get_legend().legend_handles
    assert len({handle.get_linestyle() for handle in handles[:4]}) == 4
    assert len({handle.get_marker() for handle in handles}) == 5


def test_what_draws_is_not_loaded_before_it_is_asked_for():
    code = "import sys, api.app; print({'matplotlib', 'bokeh'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
