"""Connections: gunicorn's worker with threads, whose threads wait for no client (docs/adr/0014)."""

from api.connections.logger import Logger
from api.connections.worker import Worker

__all__ = ["Logger", "Worker"]
