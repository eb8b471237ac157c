"""gunicorn's threaded worker, changed so that no thread waits for a client (docs/adr/0014)."""

from api.connections.logger import Logger
from api.connections.worker import Worker

__all__ = ["Logger", "Worker"]
