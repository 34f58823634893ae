"""Alembic's entry: migrates over the connection it is given, inside that connection's transaction."""

from alembic import context

from homeroom.workspace.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a column by copying its table
)
with context.begin_transaction():
    context.run_migrations()
