"""Limits of requests: one table, and those in force."""

from __future__ import annotations

from dataclasses import dataclass, field

from api.running import running

MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30


def _limit(
    default: int, description: str, *, fixed: bool = False, largest: int | None = None
) -> int:
    """Declare a limit.

    A `fixed` one cannot be set by a variable: the database holds no more, or clients rely on it.
    `largest` is the largest value that the database can hold.
    """
    metadata = {"description": description, "fixed": fixed, "largest": largest}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request.

    The variables of the environment, `GET /v1/limits` and its schema are made from these fields; a
    test compares the table of docs/operations.md.
    """

    body_bytes: int = _limit(GIBIBYTE, "Bytes of any body, as sent.")
    json_body_bytes: int = _limit(16 * MEBIBYTE, "Bytes of a JSON body.")
    unpacked_bytes: int = _limit(
        8 * GIBIBYTE, "Bytes of an unpacked body or file, and of its numbers at 8 bytes each."
    )
    expansion: int = _limit(
        200,
        "Factor by which a body or file may grow when it is unpacked. The first 8 MiB are "
        "always allowed.",
    )
    sheet_bytes: int = _limit(
        256 * MEBIBYTE,
        "Bytes of an unpacked XLSX workbook (256 MiB hold 6 to 7 million cells). A sheet is "
        "read into memory as a whole, so this limit is lower than that of other files.",
    )
    columns: int = _limit(
        10_000, "Columns of one upload, including x. Append more curves in further uploads."
    )
    curves: int = _limit(
        1_000_000,
        "Curves of one upload with one curve a row, not counting x; names in a list of curves "
        "of a fit. Append more curves in further uploads.",
    )
    rows: int = _limit(20_000_000, "Rows of a dataset.")
    json_values: int = _limit(
        5_000_000, "Numbers in one JSON reply of values; points times functions of one `evaluate`."
    )
    points: int = _limit(100_000, "Points of one `evaluate`.")
    reply_bytes: int = _limit(
        256 * MEBIBYTE,
        "Bytes that the reply of one `evaluate` would take if every function admitted every point.",
    )
    name_length: int = _limit(200, "Characters of the name of a record or a curve.", fixed=True)
    top_k: int = _limit(1000, "Matches kept for each training curve.", largest=2**31 - 1)
    matches: int = _limit(1_000_000, "Matches of one fit: training curves times `top_k`.")
    page: int = _limit(500, "Items of one page of a list.", fixed=True)
    json_depth: int = _limit(64, "Nesting of a JSON body.")
    json_arrays: int = _limit(
        100_000, "Arrays and objects in one JSON body. Brackets within strings count too."
    )
    json_texts: int = _limit(500_000, "Names and strings in one JSON body.")
    files: int = _limit(
        10_000, "Files of one upload: those of a form, or members of a ZIP archive."
    )
    files_seconds: int = _limit(600, "Seconds by the clock for reading many files of one upload.")
    form_parts: int = _limit(32, "Fields of a form, besides its files.")
    form_text_bytes: int = _limit(500_000, "Bytes of the text fields of a form.")
    header_seconds: int = _limit(
        10,
        "Seconds for the request line and headers together, counted from the first byte, or "
        "from the connection if it is new.",
    )
    body_stall_seconds: int = _limit(
        15,
        "Seconds for which a client may send nothing of its body, or take nothing of a "
        "waiting reply.",
    )
    slow_seconds: int = _limit(
        10, "Seconds after which `body_bytes_per_second` and `reply_bytes_per_second` apply."
    )
    body_bytes_per_second: int = _limit(1000, "Lowest rate of a body, on average since it began.")
    reply_bytes_per_second: int = _limit(
        8000, "Lowest rate at which a waiting reply is taken, on average since it began to wait."
    )
    drain_seconds: int = _limit(2, "Seconds for receiving the rest of a refused body.")
    read_memory_bytes: int = _limit(
        GIBIBYTE,
        "Memory of the process that reads one Parquet, Arrow or XLSX file, in addition to the "
        "program itself.",
    )
    read_seconds: int = _limit(
        120,
        "Seconds of processor time for reading one such file. By the clock it may take twice as "
        "long.",
    )


def limits_in_force() -> Limits:
    """Return the limits of the running app; the defaults where there is none."""
    try:
        return running().settings.limits
    except RuntimeError:
        return Limits()
