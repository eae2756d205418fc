"""Alembic's entry: runs on the connection that the store hands over."""

from alembic import context

from understudy.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, render_as_batch=True, compare_type=True
)
# The store's own transaction holds the lock and commits; Alembic must not open another.
context.run_migrations()
