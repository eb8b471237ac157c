"""Settings, all from the environment, each with a default that works."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import TypeVar

from api.addresses import parse_hosts, parse_origins, parse_prefix
from api.database_url import check_database_url
from api.limits import MEBIBYTE, Limits
from api.logs import FORMATS, LEVELS

T = TypeVar("T")

SHORTEST_LEASE = 2.0
"""Shortest lease in seconds; a worker renews it four times a second, but may be delayed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process runs.

    `database_url` is empty for the SQLite file in `data`. `hosts` are names of the service beside
    localhost and that of the machine. `prefix` is the path below which it is published.
    `cache_bytes` bounds the cached libraries of a process. Jobs estimated to take longer than
    `inline_seconds` are queued for a worker. A worker that does not renew its lease within
    `lease_seconds` counts as dead. `threads` is the number of threads of a web process; heavy
    requests take less than half of them. `dask_scheduler` is the address of a scheduler whose
    workers help with large fits. `disk_reserve_bytes` stay free on a disk; None depends on its
    size. `temp_bytes` bounds the temporary files of all processes together, `export_bytes` the
    exports that are kept for later requests.
    """

    data: Path = Path("data")
    database_url: str = ""
    hosts: frozenset[str] = frozenset()
    cors_origins: tuple[str, ...] = ()
    prefix: str = ""
    cache_bytes: int = 256 * MEBIBYTE
    inline_seconds: float = 1.0
    threads: int = 8
    lease_seconds: float = 30.0
    dask_scheduler: str = ""
    disk_reserve_bytes: int | None = None
    temp_bytes: int = 16_384 * MEBIBYTE
    export_bytes: int = 1024 * MEBIBYTE
    log_format: str = FORMATS[0]
    log_level: str = "info"
    limits: Limits = field(default_factory=Limits)

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database."""
        if not self.database_url:
            return f"sqlite:///{self.data.absolute() / 'idealfit.db'}"
        # Both common spellings of a PostgreSQL URL mean the driver we ship.
        for scheme in ("postgres://", "postgresql://"):
            if self.database_url.startswith(scheme):
                return "postgresql+psycopg://" + self.database_url.removeprefix(scheme)
        return self.database_url

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the variables that docs/operations.md lists."""
        given = {limit.name: _read_limit(environment, limit) for limit in fields(Limits)}
        return cls(
            data=Path(environment.get("IDEALFIT_DATA") or "data"),
            database_url=_parse(environment, "DATABASE_URL", _check_database_url),
            cache_bytes=_read_whole(environment, "IDEALFIT_CACHE_BYTES", 256 * MEBIBYTE),
            hosts=_parse(environment, "IDEALFIT_HOSTS", parse_hosts),
            cors_origins=_parse(environment, "IDEALFIT_CORS_ORIGINS", parse_origins),
            prefix=_parse(environment, "IDEALFIT_PREFIX", parse_prefix),
            inline_seconds=_read_seconds(environment, "IDEALFIT_INLINE_SECONDS", 1.0),
            threads=_read_whole(environment, "IDEALFIT_THREADS", 8),
            disk_reserve_bytes=_read_reserve(environment),
            temp_bytes=_read_whole(environment, "IDEALFIT_TEMP_BYTES", 16_384 * MEBIBYTE),
            export_bytes=_read_whole(environment, "IDEALFIT_EXPORT_BYTES", 1024 * MEBIBYTE),
            dask_scheduler=_check_dask_address(environment.get("IDEALFIT_DASK_SCHEDULER", "")),
            lease_seconds=_read_seconds(
                environment, "IDEALFIT_LEASE_SECONDS", 30.0, SHORTEST_LEASE
            ),
            log_format=_read_word(environment, "IDEALFIT_LOG_FORMAT", "text", FORMATS),
            log_level=_read_word(environment, "IDEALFIT_LOG_LEVEL", "info", LEVELS),
            limits=Limits(**given),
        )


def _parse(environment: Mapping[str, str], name: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(environment.get(name, ""))
    except ValueError as error:
        raise SettingError(f"{name}: {error}") from None


def _read_word(
    environment: Mapping[str, str], name: str, default: str, words: tuple[str, ...]
) -> str:
    word = (environment.get(name) or default).lower()
    if word not in words:
        raise SettingError(f"{name} must be one of {', '.join(words)}, not {word[:40]!r}.")
    return word


def _check_database_url(url: str) -> str:
    check_database_url(url)
    return url


def _read_whole(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS or int(text) == 0:
        raise SettingError(f"{name} must be a whole number above 0, not {text[:40]!r}.")
    return int(text)


def _read_limit(environment: Mapping[str, str], limit: Field[int]) -> int:
    variable = f"IDEALFIT_{limit.name.upper()}"
    default: int = limit.default  # type: ignore[assignment] # every limit has one
    if limit.metadata["fixed"] and environment.get(variable):
        raise SettingError(f"{variable} cannot be set: this limit is always {default}.")
    value = _read_whole(environment, variable, default)
    largest = limit.metadata["largest"]
    if largest is not None and value > largest:
        raise SettingError(f"{variable} must be {largest} or less, not {value}.")
    return value


def _read_reserve(environment: Mapping[str, str]) -> int | None:
    """Read the reserve in bytes, None if it is not given; 0 keeps nothing in reserve."""
    name = "IDEALFIT_DISK_RESERVE_BYTES"
    given = environment.get(name, "")
    return (0 if given == "0" else _read_whole(environment, name, 0)) if given else None


_MOST_DIGITS = 15
"""Most digits of a number, so that every JSON parser reads it exactly."""


def _read_seconds(
    environment: Mapping[str, str], name: str, default: float, least: float = 0.0
) -> float:
    text = environment.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text):
        raise SettingError(f"{name} must be a number of seconds, not {text!r}.")
    if float(text) < least:
        raise SettingError(f"{name} must be {least} seconds or more, not {text!r}.")
    return float(text)


def _check_dask_address(address: str) -> str:
    if address and not re.fullmatch(r"[a-z]+://[^\s/]+:[0-9]{1,5}", address):
        raise SettingError(
            f"IDEALFIT_DASK_SCHEDULER must be like tcp://10.0.0.5:8786, not {address!r}."
        )
    if address and importlib.util.find_spec("distributed") is None:
        raise SettingError("IDEALFIT_DASK_SCHEDULER needs pip install 'idealfit[dask]'.")
    return address


class SettingError(Exception):
    """A variable of the environment has an invalid value."""
