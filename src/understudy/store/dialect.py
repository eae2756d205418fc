"""What SQLite and PostgreSQL both have and SQLAlchemy names twice."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["insert"]


def insert(tx: sa.Connection, table: sa.Table) -> Any:
    """An INSERT that can be told what to do ON CONFLICT."""
    module = postgresql if tx.dialect.name == "postgresql" else sqlite
    return module.insert(table)
