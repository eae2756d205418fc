"""The store on Redis: shared by many hosts, in memory.

::

    understudy:{CACHE}:pointer           id of the current generation
    understudy:{CACHE}:generations       ids by time of creation
    understudy:{CACHE}:g:ID              a generation's record
    understudy:{CACHE}:g:ID:s            sources that are in
    understudy:{CACHE}:g:ID:000 ... fff  key -> value, by the first twelve bits of the key
    understudy:{CACHE}:tail, :order      live answers, and their keys by age
    understudy:{CACHE}:size, :counts     bytes of the tail; counters
"""

from understudy.cache.redis.store import RedisCache, open_redis

__all__ = ["RedisCache", "open_redis"]
