"""Durable state: SQLAlchemy Core on SQLite (one host) or PostgreSQL (many)."""

from understudy.store.database import Store, open_store

__all__ = ["Store", "open_store"]
