"""Alembic environment: runs inside the connection that `engagement migrate` hands over."""

from alembic import context

from engagement.database.tables import METADATA as LIVE
from projections.tables import METADATA as PROJECTED

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=[*LIVE, PROJECTED], compare_type=True)
with context.begin_transaction():
    context.run_migrations()
