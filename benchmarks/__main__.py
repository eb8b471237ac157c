"""All benchmarks by one command.

    python -m benchmarks                 # the tables over HTTP: fits, small, large; ten minutes
    python -m benchmarks fits --rounds 5 # one of them; --help names its options
    python -m benchmarks memory          # and those that the command alone leaves out

Each table says which path it times: the request of a user over HTTP, or arrays in memory. Run them
on a machine that does nothing else; a table shows the load. They need the `benchmark` extra.
"""

from __future__ import annotations

import importlib
import sys

OVER_HTTP = ("fits", "small", "large")
"""Tables of the command without a name."""

OTHERS = (
    *("files", "memory", "mapping", "ingest", "library", "search", "whole_job", "busy", "cluster"),
    *("real_files", "many_files", "prepare"),
)


def main() -> None:
    """Run the benchmark that the first argument names, or all over HTTP."""
    name, *rest = sys.argv[1:] or [""]
    if name and name not in OVER_HTTP + OTHERS:
        names = ", ".join(OVER_HTTP + OTHERS)
        raise SystemExit(f"{__doc__}\nThe names are {names}.")
    for one in [name] if name else OVER_HTTP:
        module = importlib.import_module(f"benchmarks.{one}")
        sys.argv = [f"python -m benchmarks {one}", *rest]
        module.main()


if __name__ == "__main__":
    main()
