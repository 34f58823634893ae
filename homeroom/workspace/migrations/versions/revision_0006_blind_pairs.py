"""Candidates on trial, and blind pairs of the chat."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # Reflection leaves checks out of SQLite's copy of the table, so there only the new one is named.
    check = "kind IN ('promoted', 'refused', 'rolled_back', 'on_trial')", op.f("ck_decisions_kind")
    copied = op.get_bind().dialect.name == "sqlite"
    with op.batch_alter_table("decisions", table_kwargs={"sqlite_autoincrement": True}) as decisions:
        if not copied:
            decisions.drop_constraint(check[1], type_="check")
        decisions.create_check_constraint(check[1], check[0])
    op.create_table(
        "pairs",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("id", sa.String(100), nullable=False),
        sa.Column("question_id", sa.String(100), nullable=False),
        sa.Column("left_id", sa.String(100), nullable=False),
        sa.Column("right_id", sa.String(100), nullable=False),
        sa.Column("trial", sa.Integer),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["question_id"], ["messages.id"], name="fk_pairs_question_id"),
        sa.ForeignKeyConstraint(["trial"], ["decisions.number"], name="fk_pairs_trial"),
        sa.UniqueConstraint("id", name="uq_pairs_id"),
        sa.PrimaryKeyConstraint("number", name="pk_pairs"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_pairs_question_id", "pairs", ["question_id"])
    op.create_index("ix_pairs_trial", "pairs", ["trial"])
