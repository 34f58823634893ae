"""Accounts: users, their sessions, and whose a key is."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("sign_in", sa.String(100), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("password", sa.String(200), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled", sa.DateTime(timezone=True)),
        sa.CheckConstraint("role IN ('talk', 'annotate', 'operate')", name=op.f("ck_users_role")),
        sa.UniqueConstraint("sign_in", name="uq_users_sign_in"),
        sa.PrimaryKeyConstraint("number", name="pk_users"),
        sqlite_autoincrement=True,
    )
    # SQLite adds a foreign key by copying the table, which forgets AUTOINCREMENT unless told.
    with op.batch_alter_table("keys", table_kwargs={"sqlite_autoincrement": True}) as keys:
        keys.add_column(sa.Column("user_number", sa.Integer))
        keys.create_foreign_key("fk_keys_user_number", "users", ["user_number"], ["number"])
    op.create_table(
        "sessions",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("user_number", sa.Integer),
        sa.Column("key_number", sa.Integer),
        sa.Column("generation", sa.Integer),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(user_number IS NULL) <> (key_number IS NULL)", name=op.f("ck_sessions_holder")),
        sa.ForeignKeyConstraint(["user_number"], ["users.number"], name="fk_sessions_user_number"),
        sa.ForeignKeyConstraint(["key_number"], ["keys.number"], name="fk_sessions_key_number"),
        sa.UniqueConstraint("hash", name="uq_sessions_hash"),
        sa.PrimaryKeyConstraint("number", name="pk_sessions"),
        sqlite_autoincrement=True,
    )
