"""The store on PostgreSQL: shared by many hosts, durable.

Everything is in the schema ``understudy_cache``: ``caches`` (the pointer), ``generations``,
``sources``, ``tail``, ``counts``, and for each generation two tables of its own, ``s_N`` with the
rows as they came and, from its publication on, ``g_N`` with the rows by key.
"""

from understudy.cache.postgres.store import PostgresCache, open_postgres

__all__ = ["PostgresCache", "open_postgres"]
