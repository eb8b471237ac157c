"""One dataset from many files: parts of a form, and ZIP archives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from api.http import many_files
from tests.archives import ZIP, a_zip
from tests.calls import a_form, check_fact, check_problem
from tests.files import PACK, a_parquet, a_sheet
from tests.spectra import a_jcamp

PATH = "/v1/datasets"
A, B = b"x,y\n1,2\n2,3\n", b"1 4\n2 5\n"
OTHER = b"x,y\n2,7\n3,8\n"
BROKEN = b"x,y\n1,a\n2,3\n"


def post(calls, files, path=PATH, **fields):
    """Post files by their names, as parts of a form."""
    texts = [(name, text) for name, given in fields.items() for text in [given].pop().split("|")]
    return calls.post(
        path, **a_form(*(("file", data, name) for name, data in files.items()), *texts)
    )


def post_zip(calls, files, **params):
    data, headers = a_zip(files), {"Content-Type": ZIP}
    return calls.post(PATH, data=data, headers=headers, params=params)


def columns_of(calls, reply):
    assert reply.status in {200, 201}, reply.text
    return calls.get(f"{PATH}/{reply.json['id']}/values").json["columns"]


class TestNames:
    def test_a_curve_is_called_by_the_stem_of_its_file(self, calls):
        reply = post(calls, {"a.csv": A, "folder/b.txt": B})
        assert columns_of(calls, reply) == {"x": [1, 2], "a": [2, 3], "b": [4, 5]}
        assert reply.json["name"] == "dataset"
        assert reply.json["source"]["files"] == [
            {"name": "a.csv", "format": "csv", "curves": ["a"], "warnings": []},
            {"name": "folder/b.txt", "format": "csv", "curves": ["b"], "warnings": []},
        ]

    def test_several_curves_of_a_file_have_their_columns_too(self, calls):
        reply = post(calls, {"a.csv": b"x,y,z\n1,2,3\n", "b.csv": b"x,y\n1,4\n"})
        assert [*columns_of(calls, reply)] == ["x", "a / y", "a / z", "b"]

    def test_stems_that_repeat_get_their_folder(self, calls):
        reply = post_zip(calls, {"lib/s/1.csv": A, "lib/t/1.csv": A, "lib/t/2.csv": A}, name="lib")
        assert [*columns_of(calls, reply)] == ["x", "s/1", "t/1", "2"]
        assert reply.json["name"] == "lib"

    def test_a_name_that_still_repeats_names_both_files(self, calls):
        reply = post(calls, {"s/1.csv": A, "s/1.txt": B})
        fact = check_fact(reply, 422, code="duplicate_name", file="s/1.txt")
        assert "'s/1.csv'" in fact["detail"]
        assert "'s/1.txt'" in fact["detail"]


class TestForms:
    def test_files_of_several_formats(self, calls):
        columns = {"x": [1.0, 2.0], "y": [2.0, 3.0]}
        files = {
            "a.csv": A,
            "p.parquet": a_parquet(columns),
            "w.xlsx": a_sheet(columns),
            "j.jdx": a_jcamp(["1 2 3"], FIRSTX=1, LASTX=2, NPOINTS=2),
            "d.json": b'{"columns": {"x": [1, 2], "y": [2, 3]}, "y_units": {"y": "V"}}',
            "g.csv.gz": PACK["gzip"](A),
            "z.csv.zst": PACK["zstd"](A),
        }
        reply = post(calls, files)
        names = ["a", "p", "w", "j", "d", "g", "z"]
        assert columns_of(calls, reply) == {"x": [1, 2], **{name: [2, 3] for name in names}}
        source = reply.json["source"]
        assert source["format"] == "mixed"
        formats = ["csv", "parquet", "xlsx", "jcamp", "json", "csv", "csv"]
        assert [report["format"] for report in source["files"]] == formats
        curve = calls.get(f"{PATH}/{reply.json['id']}/curves", params={"name": "d"}).json["items"][
            0
        ]
        assert curve["unit"] == "V"

    def test_an_archive_among_the_files(self, calls):
        reply = post(calls, {"lib.zip": a_zip({"b.txt": B, ".c": b"\0"}), "a.csv": A, ".d": b"\0"})
        assert [*columns_of(calls, reply)] == ["x", "b", "a"]
        names = [report["name"] for report in reply.json["source"]["files"]]
        assert names == ["lib/b.txt", "a.csv"]

    def test_one_archive_gives_its_name(self, calls):
        reply = post(calls, {"polymers.zip": a_zip({"a.csv": A, "b.txt": B})})
        assert (reply.json["name"], reply.json["n_curves"]) == ("polymers", 2)

    def test_attributes_of_the_files_are_kept(self, calls):
        jcamp = a_jcamp(["1 2 3"], FIRSTX=1, LASTX=2, NPOINTS=2, TITLE="Ethanol")
        reply = post(
            calls,
            {"j.jdx": jcamp, "a.csv": A},
            curve_attributes='{"a": {"sample": 7}}',
            y_units='{"a": "V"}',
        )
        curves = calls.get(f"{PATH}/{reply.json['id']}/curves").json["items"]
        assert curves[0]["attributes"]["TITLE"] == "Ethanol"
        assert (curves[1]["attributes"], curves[1]["unit"]) == ({"sample": 7}, "V")

    @pytest.mark.parametrize("name", ["a.csv", "a.zip"])
    def test_hidden_files_alone_are_no_library(self, calls, name):
        data = a_zip({".a": b""}) if name == "a.zip" else A
        check_fact(post(calls, {f".{name}": data, ".b": A}), 422, code="no_files")

    def test_more_files_than_fields(self, calls):
        reply = post(calls, {f"{i}.csv": A for i in range(100)})
        assert reply.json["n_curves"] == 100


class TestArchives:
    def test_a_body_is_as_a_part(self, calls):
        files = {"s/a.csv": A, "b.txt": B}
        one, two = post_zip(calls, files, name="n"), post(calls, {"n.zip": a_zip(files)})
        assert one.json["sha256"] == two.json["sha256"]
        assert one.json["source"] == two.json["source"]

    def test_a_body_of_an_unknown_kind_is_looked_into(self, calls):
        headers = {"Content-Type": "application/octet-stream"}
        reply = calls.post(PATH, data=a_zip({"a.csv": A}), headers=headers)
        assert reply.json["source"]["files"][0]["name"] == "a.csv"
        book = calls.post(PATH, data=a_sheet({"x": [1], "y": [2]}), headers=headers)
        assert book.json["source"]["files"] is None

    @pytest.mark.parametrize("name", ["w.zip", "w", "w.dat"])
    def test_a_workbook_is_one_whatever_it_is_called(self, calls, name):
        reply = post(calls, {name: a_sheet({"x": [1], "y": [2]})})
        assert (reply.status, reply.json["source"]["format"]) == (201, "xlsx")

    def test_what_is_no_archive_is_refused(self, calls):
        reply = calls.post(PATH, data=b"x,y\n1,2\n", headers={"Content-Type": ZIP})
        check_problem(reply, 415)
        reply = calls.post(PATH, data=b"PK\x03\x04 and so on", headers={"Content-Type": ZIP})
        assert check_problem(reply, 400)["errors"][0]["code"] == "bad_archive"

    def test_an_archive_in_an_archive_is_refused_by_name(self, calls):
        reply = post_zip(calls, {"a.csv": A, "deep.zip": a_zip({"b.csv": A})})
        assert check_problem(reply, reply.status)["detail"].startswith("deep.zip: ")
        assert reply.status in {400, 415, 422}

    def test_it_may_be_packed_once_more(self, calls):
        data = PACK["gzip"](a_zip({"a.csv": A}))
        headers = {"Content-Type": ZIP, "Content-Encoding": "gzip"}
        assert calls.post(PATH, data=data, headers=headers).json["n_curves"] == 1


class TestGrids:
    def test_the_file_that_differs_is_named(self, calls):
        fact = check_fact(post(calls, {"a.csv": A, "c.csv": OTHER}), 422, code="other_x")
        assert fact["detail"].startswith("Say grid=union")
        assert "'c.csv'" in fact["detail"]

    @pytest.mark.parametrize(
        ("grid", "columns"),
        [
            ("union", {"x": [1, 2, 3], "a": [2, 3, None], "c": [None, 7, 8]}),
            ("common", {"x": [2], "a": [3], "c": [7]}),
            ("1:3:0.5", {"x": [1, 1.5, 2, 2.5, 3], "a": [2, 2.5, 3, None, None],
                         "c": [None, None, 7, 7.5, 8]}),
        ],
    )  # fmt: skip
    def test_other_grids_join_them(self, calls, grid, columns):
        assert columns_of(calls, post(calls, {"a.csv": A, "c.csv": OTHER}, grid=grid)) == columns

    def test_a_file_that_cannot_be_joined_is_named(self, calls):
        reply = post(calls, {"a.csv": A, "c.csv": b"x,y\n1,2\n1,3\n"}, grid="union")
        assert check_problem(reply, 422)["detail"].startswith("c.csv: ")


class TestUnreadable:
    def test_one_file_refuses_all_by_its_name(self, calls):
        before = calls.get(PATH).json["items"]
        reply = post(calls, {"a.csv": A, "bad/c.csv": BROKEN})
        fact = check_fact(reply, 422, code="not_a_number", line=2, column="y", file="bad/c.csv")
        assert fact["detail"].startswith("bad/c.csv: Line 2")
        assert calls.get(PATH).json["items"] == before

    @pytest.mark.parametrize(
        "bad",
        [
            {"c.csv": BROKEN},
            {"c.csv": b""},
            {"c.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"},
            {"c.csv.gz": b"x,y\n1,2\n"},
            {"c.csv.gz": PACK["gzip"](A)[:-9]},
            {"c.json": b'{"columns": {"x": [1]'},
            {"c.parquet": b"PAR1" + bytes(90)},
            {"c.jdx": b"##TITLE=a\n##END=\n"},
            {"c.zip": a_zip({"d.csv": A})},
            {"c.csv.gz": PACK["gzip"](b"0" * (9 << 20))},
        ],
    )
    def test_it_is_left_out_and_listed_if_so_asked(self, calls, bad):
        files = {"a.csv": A} | bad | {"b.txt": B}
        refused = post_zip(calls, files)
        (name,) = bad
        assert check_problem(refused, refused.status)["errors"][0]["file"] == name
        reply = post_zip(calls, files, skip_unreadable="true")
        assert [*columns_of(calls, reply)] == ["x", "a", "b"]
        report = reply.json["source"]["files"][1]
        assert (report["name"], report["format"], report["curves"]) == (name, None, [])
        (warning,) = [told for told in reply.json["warnings"] if told["code"] == "unreadable"]
        assert warning["detail"].startswith(f"{name}: It was left out.")

    def test_if_none_can_be_read_the_first_says_why(self, calls):
        reply = post(calls, {"c.csv": BROKEN, "d.csv": b""}, skip_unreadable="true")
        check_fact(reply, 422, code="not_a_number", file="c.csv")


class TestWarnings:
    def test_those_of_a_kind_are_told_once(self, calls):
        odd = "°C,y\n1,2\n2,3\n".encode("latin-1")
        reply = post(calls, {f"{i}.csv": odd for i in range(3)})
        (warning,) = [told for told in reply.json["warnings"] if told["code"] == "encoding"]
        assert warning["detail"].startswith("0.csv: ")
        assert "2 more files" in warning["detail"]
        reports = reply.json["source"]["files"]
        assert all(report["warnings"][0]["code"] == "encoding" for report in reports)


class TestOptions:
    def test_they_hold_for_every_file(self, calls):
        files = {"a.csv": b"x;y\n1;2,5\n", "b.csv": b"x;y\n1;3,5\n"}
        reply = post(calls, files, delimiter=";", decimal=",")
        assert columns_of(calls, reply) == {"x": [1], "a": [2.5], "b": [3.5]}
        assert reply.json["source"]["decimal"] == ","

    def test_those_of_one_format_do_not_stop_the_others(self, calls):
        files = {"a.csv": b"x;y\n1;2\n", "p.parquet": a_parquet({"x": [1.0], "y": [3.0]})}
        assert post(calls, files, delimiter=";").json["n_curves"] == 2

    def test_one_that_means_nothing_in_any_file_is_refused(self, calls):
        files = {name: a_parquet({"x": [1.0], "y": [3.0]}) for name in ("a.parquet", "b.parquet")}
        check_fact(post(calls, files, delimiter=";"), 422, parameter="delimiter")

    def test_part_of_a_text_is_one_file(self, calls):
        reply = post(calls, {"a.csv": A, "b.csv": A}, f"{PATH}/preview", partial="true")
        check_fact(reply, 422, parameter="partial")


class TestPreviews:
    def test_it_is_the_record_that_would_be_stored(self, calls):
        files = {"a.csv": A, "c.csv": OTHER}
        look = post(calls, files, f"{PATH}/preview", grid="union").json
        stored = post(calls, files, grid="union").json
        assert look["rows"] == [[1, 2, None], [2, 3, 7], [3, None, 8]]
        assert {name: look[name] for name in ("sha256", "source", "warnings", "n_gaps")} == {
            name: stored[name] for name in ("sha256", "source", "warnings", "n_gaps")
        }


class TestAppending:
    def test_many_files(self, calls):
        made = calls.a_dataset({"x": [1.0, 2.0], "y": [0.0, 0.0]})
        path = f"{PATH}/{made['id']}/curves"
        reply = post(calls, {"a.csv": A, "b.txt": B}, path)
        assert [*columns_of(calls, reply)] == ["x", "y", "a", "b"]
        reply = post(calls, {"c.zip": a_zip({"c.csv": A})}, path)
        names = [report["name"] for report in reply.json["source"]["files"]]
        assert names == ["a.csv", "b.txt", "c.csv"]
        fact = check_fact(post(calls, {"d.csv": A, "e.csv": OTHER}, path), 422, code="other_x")
        assert "'e.csv'" in fact["detail"]
        # Steps bring other files onto the grid of the dataset.
        more = {"f.csv": b"x,y\n0,0\n4,8\n", "g.csv": OTHER}
        assert columns_of(calls, post(calls, more, path, grid="1:2:1"))["f"] == [2, 4]

    @pytest.mark.parametrize("grid", ["same", "1:2:1"])
    def test_curves_of_one_file_get_names(self, calls, grid):
        made = calls.a_dataset({"x": [1.0, 2.0], "y": [0.0, 0.0]})
        path = f"{PATH}/{made['id']}/curves"
        reply = post(calls, {"a.csv": b"x,y,z\n1,2,3\n2,3,4\n"}, path, names="p| q", grid=grid)
        assert columns_of(calls, reply) == {"x": [1, 2], "y": [0, 0], "p": [2, 3], "q": [3, 4]}
        fact = check_fact(post(calls, {"a.csv": A}, path, names="r|s"), 422, parameter="names")
        assert "there are 1, not 2" in fact["detail"]
        for names, code in (("p", "duplicate_name"), ("x", "duplicate_name")):
            check_fact(post(calls, {"a.csv": A}, path, names=names), 422, code=code)
        check_fact(post(calls, {"a.csv": A, "b.txt": B}, path, names="r|s"), 422, parameter="names")

    def test_names_may_stand_in_the_query(self, calls):
        made = calls.a_dataset({"x": [1.0, 2.0], "y": [0.0, 0.0]})
        reply = calls.post(
            f"{PATH}/{made['id']}/curves",
            data=A,
            headers={"Content-Type": "text/csv"},
            params={"names": "n"},
        )
        assert [*columns_of(calls, reply)] == ["x", "y", "n"]


def test_lists_leave_out_the_reports(calls):
    identifier = post(calls, {"a.csv": A, "b.txt": B}).json["id"]
    (listed,) = [item for item in calls.get(PATH).json["items"] if item["id"] == identifier]
    assert listed["source"]["files"] is None
    assert len(calls.get(f"{PATH}/{identifier}").json["source"]["files"]) == 2


def test_a_form_of_many_files_keeps_one_open(limited):
    """Each of them in memory or in a file of its own would be too much."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    calls = limited()
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    try:
        reply = post(calls, {f"{i}.csv": A + b" " * 2000 for i in range(1000)})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert reply.json["n_curves"] == 1000


def test_unpacked_files_count_together(limited):
    calls = limited(unpacked_bytes=12 << 20)
    packed = PACK["gzip"](b"x,y\n1,2\n" + b"\n" * (7 << 20))
    assert post(calls, {"a.csv.gz": packed, "b.csv": A[:8]}).status == 201
    reply = post(calls, {"a.csv.gz": packed, "b.csv.gz": packed})
    assert check_problem(reply, 413)["detail"].startswith("b.csv.gz: ")


def test_archives_of_a_form_have_the_limits_of_one(limited):
    """Otherwise each of thousands could be as large, and have as long a directory, as one may."""
    calls = limited(unpacked_bytes=12 << 20, files=20)
    large = a_zip({"a.csv": b"x,y\n1,2\n" + b"\n" * (7 << 20)})
    assert post(calls, {"s.zip": large, "b.csv": A[:8]}).status == 201
    reply = post(calls, {"s.zip": large, "t.zip": large})
    assert check_fact(reply, 413, code="too_many_bytes")["file"] == "t.zip"
    hidden = a_zip({"a.csv": A} | {f".{i}": b"" for i in range(150)})
    assert post(calls, {"s.zip": hidden, "b.csv": A}).status == 201
    reply = post(calls, {"s.zip": hidden, "t.zip": hidden})
    assert check_fact(reply, 413, code="too_many_files")["file"] == "t.zip"
    many = a_zip({f"{i}.csv": A for i in range(11)})
    assert check_fact(post(calls, {"s.zip": many, "t.zip": many}), 413, code="too_many_files")


def test_workbooks_of_a_form_are_no_archives(limited):
    book = a_sheet({"x": [1.0], "y": [2.0]})
    reply = post(limited(files=20), {f"{i}.xlsx": book for i in range(20)})
    assert reply.json["n_curves"] == 20


def test_time_is_limited_for_all_files_together(limited, monkeypatch):
    clock = iter(range(0, 1000, 250))
    monkeypatch.setattr(many_files, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    reply = post(limited(), {f"{i}.csv": A for i in range(4)})
    assert check_problem(reply, 413)["errors"][0]["code"] == "too_slow"
