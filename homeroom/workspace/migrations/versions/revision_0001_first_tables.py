"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String(100), nullable=False),
        sa.Column("stage", sa.String(50), nullable=False),
        sa.Column("manifest", sa.JSON, nullable=False),
        sa.Column("used", sa.Integer, nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
    )
    op.create_index("ix_artifacts_stage", "artifacts", ["stage"])
    op.create_table(
        "runs",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("stage", sa.String(50), nullable=False),
        sa.Column("artifact_id", sa.String(100)),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True)),
        sa.Column("seconds", sa.Float),
        sa.Column("error", sa.Text),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("pid_started", sa.Float, nullable=False),
        sa.CheckConstraint("state IN ('running', 'finished', 'failed')", name=op.f("ck_runs_state")),
        sa.PrimaryKeyConstraint("number", name="pk_runs"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "decisions",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("artifact_id", sa.String(100), nullable=False),
        sa.Column("previous_id", sa.String(100)),
        sa.Column("verdict", sa.JSON, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('promoted', 'refused', 'rolled_back')", name=op.f("ck_decisions_kind")),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifacts.id"], name="fk_decisions_artifact_id"),
        sa.ForeignKeyConstraint(["previous_id"], ["artifacts.id"], name="fk_decisions_previous_id"),
        sa.PrimaryKeyConstraint("number", name="pk_decisions"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "conversations",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("id", sa.String(100), nullable=False),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("id", name="uq_conversations_id"),
        sa.PrimaryKeyConstraint("number", name="pk_conversations"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "messages",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("id", sa.String(100), nullable=False),
        sa.Column("conversation_id", sa.String(100), nullable=False),
        sa.Column("parent_id", sa.String(100)),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("model_id", sa.String(200)),
        sa.Column("sampling", sa.JSON),
        sa.Column("token_ids", sa.JSON),
        sa.Column("finish_reason", sa.String(20)),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("role IN ('system', 'user', 'assistant')", name=op.f("ck_messages_role")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_messages_conversation_id"),
        sa.ForeignKeyConstraint(["parent_id"], ["messages.id"], name="fk_messages_parent_id"),
        sa.UniqueConstraint("id", name="uq_messages_id"),
        sa.PrimaryKeyConstraint("number", name="pk_messages"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_messages_conversation_id", "messages", ["conversation_id"])
    for name, value in (
        ("votes", [sa.Column("value", sa.Integer, nullable=False)]),
        ("edits", [sa.Column("text", sa.Text, nullable=False)]),
    ):
        checks = [sa.CheckConstraint("value IN (1, -1)", name=op.f("ck_votes_value"))] if name == "votes" else []
        op.create_table(
            name,
            sa.Column("number", sa.Integer, nullable=False, autoincrement=True),
            sa.Column("id", sa.String(100), nullable=False),
            sa.Column("message_id", sa.String(100), nullable=False),
            sa.Column("user", sa.String(200), nullable=False),
            *value,
            sa.Column("at", sa.DateTime(timezone=True), nullable=False),
            *checks,
            sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=f"fk_{name}_message_id"),
            sa.UniqueConstraint("id", name=f"uq_{name}_id"),
            sa.PrimaryKeyConstraint("number", name=f"pk_{name}"),
            sqlite_autoincrement=True,
        )
        op.create_index(f"ix_{name}_message_id", name, ["message_id"])
