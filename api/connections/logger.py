"""gunicorn's logger: `gunicorn --logger-class api.connections.Logger`."""

from __future__ import annotations

from typing import Any

from gunicorn import glogging

from api import logs
from api.config import Settings


class Logger(glogging.Logger):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's logger, which writes to the log of the service unless it has a file."""

    def setup(self, cfg: Any) -> None:
        """Send gunicorn's lines to our log."""
        super().setup(cfg)
        settings = Settings.from_environment()
        logs.set_up(settings.log_format, settings.log_level)
        if cfg.errorlog == "-":
            for handler in self.error_log.handlers[:]:
                self.error_log.removeHandler(handler)
            self.error_log.propagate = True
