"""The embedded store: a folder a cache, a file a generation, and an index that says which counts.

::

    ROOT/CACHE/index.db                  generations, and the pointer to the current one
    ROOT/CACHE/tail.db                   live answers, counters
    ROOT/CACHE/GENERATION.db             key -> value, written once, read only from then on
    ROOT/CACHE/GENERATION.staging.db     rows in the order they came, until it is published
"""

from understudy.cache.sqlite.store import SqliteCache, open_sqlite

__all__ = ["SqliteCache", "open_sqlite"]
