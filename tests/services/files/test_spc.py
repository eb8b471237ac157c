"""SPC: both orders of bytes, every kind of number and of x, labels, and what is refused."""

from __future__ import annotations

import struct
import tempfile

import numpy as np
import pytest

from services.errors import InvalidTable, TooLarge, UnreadableFile
from services.files import ReadOptions
from services.files.limits import ReadLimits
from services.files.spc import read_spc
from services.files.spool import ColumnFile
from tests.spectra import an_spc

Y = [[1, -2, 32_767], [0, 5, -32_768]]


def read(data, **options):
    """Heads and numbers of a file."""
    with tempfile.TemporaryFile() as file:
        heads = read_spc(data, ColumnFile(file, 0), ReadOptions(**options))
        file.seek(0)
        numbers = np.fromfile(file)
    tables = [
        numbers[h.offset : h.offset + len(h.columns) * h.rows].reshape(-1, h.rows) for h in heads
    ]
    return heads, tables


def refused(error, data, code, **options):
    with pytest.raises(error) as raised:
        read(data, **options)
    assert raised.value.facts[0].code == code
    return raised.value.detail


@pytest.mark.parametrize("order", "<>")
class TestNumbers:
    @pytest.mark.parametrize(
        ("kind", "exponent", "factor"),
        [
            ("f4", 0, 1.0),
            ("i2", 16, 1.0),
            ("i2", 3, 2.0**-13),
            ("i2", -127, 2.0**-143),
            ("i4", 32, 1.0),
            ("i4", 9, 2.0**-23),
            ("i4", 127, 2.0**95),
        ],
    )
    def test_every_kind_of_ordinate_is_exact(self, order, kind, exponent, factor):
        (head,), (table,) = read(an_spc(Y, kind=kind, order=order, exponent=exponent))
        assert table[1:].tolist() == (np.array(Y) * factor).tolist()
        assert (head.columns, head.x) == (("x", "1", "2"), 0)

    def test_float32_keep_their_bits(self, order):
        values = np.array([0.1, 1e-45, -0.0, 3e38], np.float32)
        _, (table,) = read(an_spc([values], order=order))
        assert table[1].tobytes() == values.astype(float).tobytes()

    def test_a_file_may_mix_floats_and_whole_numbers(self, order):
        data = bytearray(an_spc([[1, 2], [3, 4]], kind="i2", exponent=16, order=order))
        data += np.array([3, 4], f"{order}f4").tobytes()[4:]
        second = 512 + 32 + 4
        data[second + 1] = 0x80
        data[second + 32 :] = np.array([3, 4.5], f"{order}f4").tobytes()
        assert read(bytes(data))[1][0][1:].tolist() == [[1, 2], [3, 4.5]]

    def test_even_x(self, order):
        _, (table,) = read(an_spc([[0] * 7], even=(4000.1, 400.3), order=order))
        assert table[0].tolist() == np.linspace(4000.1, 400.3, 7).tolist()

    def test_a_common_x(self, order):
        _, (table,) = read(an_spc(Y, x=[1, 10, 0.5], order=order))
        assert table.tolist() == [[1, 10, 0.5], *Y]

    @pytest.mark.parametrize("directory", [False, True])
    @pytest.mark.parametrize("kind", ["f4", "i2"])
    def test_each_subfile_may_have_its_own_x(self, order, kind, directory):
        y, x = [[1, 2], [3, 4, 5]], [[10, 11], [7, 8, 9]]
        data = an_spc(y, x=x, kind=kind, exponent=16, order=order, directory=directory)
        heads, tables = read(data)
        assert [table.tolist() for table in tables] == [[a, b] for a, b in zip(x, y, strict=True)]
        assert [head.columns for head in heads] == [("x", "1"), ("x", "2")]

    def test_the_client_may_choose_subfiles(self, order):
        data = an_spc([[1, 2], [3, 4], [5, 6]], types=(1, 2, 5), order=order)
        (head,), (table,) = read(data, columns=["3", "#2"], stem="s", x_column="#1")
        assert head.columns == ("x", "1", "3")
        assert table[1:].tolist() == [[1, 2], [5, 6]]
        assert [some["Z"] for some in head.labels.attributes] == ["0.0 min", "1.0 min"]
        assert read(data, columns=["2"], stem="s")[0][0].columns == ("x", "2")

    def test_nan_is_a_gap_and_infinity_is_refused(self, order):
        _, (table,) = read(an_spc([[1, np.nan]], order=order))
        assert np.isnan(table[1]).tolist() == [False, True]
        detail = refused(InvalidTable, an_spc([[1, np.inf]], order=order), "not_finite")
        assert "Row 2" in detail


class TestLabels:
    def test_units_and_attributes(self):
        date = 2024 << 20 | 2 << 16 | 29 << 11 | 13 << 6 | 5
        data = an_spc([[1, 2]], types=(13, 2, 0), date=date, memo="Säure\0old".encode("latin-1"))
        (head,), _ = read(data, stem="acid")
        assert head.columns == ("x", "acid")
        assert (head.labels.x_unit, head.labels.units) == ("cm-1", ("absorbance",))
        assert head.labels.attributes == (
            {
                "MEMO": "Säure",
                "DATE": "2024-02-29T13:05",
                "INSTRUMENT": "FT",
                "RESOLUTION": "4",
                "X AXIS": "Raman shift",
            },
        )

    def test_subfiles_say_their_place(self):
        (head,), _ = read(an_spc(Y, types=(3, 4, 5)))
        assert [some["Z"] for some in head.labels.attributes] == ["0.0 min", "0.5 min"]

    @pytest.mark.parametrize(
        ("axes", "units"),
        [
            (b"Wavenumber (cm-1)\0(arb)\0", ("cm-1", "arb")),
            (b"\0Abundance", ("nm", "Abundance")),
            (b"Distance", ("Distance", "counts")),
        ],
    )
    def test_texts_of_the_file_count_more_than_its_types(self, axes, units):
        (head,), _ = read(an_spc([[1, 2]], types=(3, 4, 0), axes=axes))
        assert (head.labels.x_unit, *head.labels.units) == units

    @pytest.mark.parametrize("types", [(0, 0, 0), (15, 15, 0), (255, 130, 0), (99, 99, 99)])
    def test_types_without_a_unit(self, types):
        (head,), _ = read(an_spc([[1, 2]], types=types))
        assert (head.labels.x_unit, head.labels.units) == (None, (None,))

    @pytest.mark.parametrize(
        ("date", "shown"),
        [
            (0, None),
            (2**32 - 1, None),
            (115 << 20 | 5 << 16 | 9 << 11 | 16 << 6, "2015-05-09T16:00"),
        ],
    )
    def test_dates(self, date, shown):
        """Some programs count years from 1900."""
        (head,), _ = read(an_spc([[1, 2]], date=date))
        assert head.labels.attributes[0].get("DATE") == shown


class TestDamage:
    @pytest.mark.parametrize(
        "data",
        [
            an_spc(Y),
            an_spc(Y, kind="i2", x=[1, 2, 3]),
            an_spc(Y, x=[[1, 2, 3]] * 2),
            an_spc(Y, x=[[1, 2, 3]] * 2, directory=True),
        ],
        ids=["even", "common", "own", "directory"],
    )
    def test_a_file_that_is_cut_anywhere_is_refused(self, data):
        for length in range(len(data)):
            with pytest.raises(UnreadableFile) as raised:
                read(data[:length])
            assert raised.value.facts[0].code == "damaged"

    @pytest.mark.parametrize(
        ("options", "error", "code"),
        [
            ({"points": 0}, InvalidTable, "no_rows"),
            ({"points": 2**31}, TooLarge, "too_many_rows"),
            ({"points": 10**5}, UnreadableFile, "damaged"),
            ({"subfiles": 2**32 - 1}, TooLarge, "too_many_columns"),
            ({"subfiles": 9000}, UnreadableFile, "damaged"),
        ],
    )
    def test_sizes_are_checked_before_they_are_used(self, options, error, code):
        refused(error, an_spc([[1, 2]], **options), code)

    def test_subfiles_are_counted(self):
        own = {"x": [[1, 2, 3]] * 2}
        refused(TooLarge, an_spc(Y, subfiles=2**31, **own), "too_many_columns")
        refused(UnreadableFile, an_spc(Y, subfiles=5000, **own), "damaged")
        refused(TooLarge, an_spc(Y, **own), "too_many_columns", limits=ReadLimits(max_columns=3))

    def test_a_directory_may_not_name_one_subfile_again_and_again(self):
        count, points = 1000, 100_000
        data = bytearray(an_spc([[0] * points], x=[range(points)], directory=True))
        struct.pack_into("<I", data, 24, count)
        data += struct.pack("<IIf", 512, 0, 0.0) * count
        detail = refused(TooLarge, bytes(data), "expansion", limits=ReadLimits(expansion=10))
        assert "10 times" in detail

    def test_an_empty_subfile_is_refused_by_its_number(self):
        detail = refused(InvalidTable, an_spc([[1], []], x=[[1], []]), "no_rows")
        assert "subfile 2" in detail

    def test_the_old_version_is_refused_by_name(self):
        data = bytearray(an_spc([[1, 2]]))
        data[1] = 0x4D
        detail = refused(UnreadableFile, bytes(data), "old_spc")
        assert detail.startswith("Save the file in the newer SPC format")

    @pytest.mark.parametrize("data", [b"", b"\0", b"x,y\n1,2\n", b"\0\x4a" + bytes(600)])
    def test_another_file_is_no_spc(self, data):
        with pytest.raises(UnreadableFile):
            read(data)
