"""Settings, all from the environment, each with a default that works."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for; `GET /v1/limits` shows them."""

    body_bytes: int = 256 * MEBIBYTE
    json_body_bytes: int = 16 * MEBIBYTE
    columns: int = 10_000
    rows: int = 20_000_000
    json_values: int = 5_000_000
    name_length: int = 200
    top_k: int = 1000
    matches: int = 1_000_000
    page: int = 500
    json_depth: int = 64
    form_parts: int = 32
    form_text_bytes: int = 500_000
    body_stall_seconds: int = 15


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process runs.

    `database_url` is empty for the SQLite file in `data`.
    """

    data: Path = Path("data")
    database_url: str = ""
    cors_origins: tuple[str, ...] = ()
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
        origins = environment.get("IDEALFIT_CORS_ORIGINS", "")
        standard = Limits()
        limits = Limits(
            body_bytes=_whole(environment, "IDEALFIT_BODY_BYTES", standard.body_bytes),
            json_body_bytes=_whole(
                environment, "IDEALFIT_JSON_BODY_BYTES", standard.json_body_bytes
            ),
            columns=_whole(environment, "IDEALFIT_COLUMNS", standard.columns),
            rows=_whole(environment, "IDEALFIT_ROWS", standard.rows),
        )
        return cls(
            data=Path(environment.get("IDEALFIT_DATA") or "data"),
            database_url=environment.get("DATABASE_URL", ""),
            cors_origins=tuple(part.strip() for part in origins.split(",") if part.strip()),
            limits=limits,
        )


def _whole(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise SettingError(f"{name} must be a whole number above 0, not {text!r}.")
    return int(text)


class SettingError(Exception):
    """A variable of the environment cannot be used."""
