"""One suite over every store of the core."""

from __future__ import annotations

import pytest

from understudy.cache import open_cache
from understudy.testing import CacheStoreSuite


class TestSqlite(CacheStoreSuite):
    @pytest.fixture
    def place(self, tmp_path):
        return lambda options: open_cache(tmp_path / "cache", options)


class TestRedis(CacheStoreSuite):
    @pytest.fixture
    def place(self, redis_url):
        return lambda options: open_cache(redis_url, options)


@pytest.mark.postgres
class TestPostgres(CacheStoreSuite):
    @pytest.fixture
    def place(self, postgres_url):
        return lambda options: open_cache(postgres_url, options)
