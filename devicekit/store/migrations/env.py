"""How Alembic reaches the store: on the connection that store.open holds."""

from alembic import context

from devicekit.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
