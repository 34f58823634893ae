"""Rankings, comparisons, the annotators' queue; consent to learn from a conversation; votes that are withdrawn."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("conversations", sa.Column("consent", sa.Boolean, nullable=False, server_default=sa.true()))
    op.create_index("ix_messages_parent_id", "messages", ["parent_id"])
    # Reflection leaves checks out of SQLite's copy of the table, so there only the new one is named.
    check = "value IN (1, 0, -1)", op.f("ck_votes_value")
    copied = op.get_bind().dialect.name == "sqlite"
    with op.batch_alter_table("votes", table_kwargs={"sqlite_autoincrement": True}) as votes:
        if not copied:
            votes.drop_constraint(check[1], type_="check")
        votes.create_check_constraint(check[1], check[0])
    _create(
        "rankings",
        ["question_id"],
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("tiers", sa.JSON, nullable=False),
        sa.Column("flags", sa.JSON, nullable=False),
        sa.Column("ideal_answer", sa.Text),
        sa.CheckConstraint("state IN ('ranked', 'skipped', 'withdrawn')", name=op.f("ck_rankings_state")),
    )
    _create(
        "comparisons",
        ["question_id", "left_id", "right_id"],
        sa.Column("choice", sa.String(20), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.CheckConstraint("choice IN ('left', 'right', 'tie')", name=op.f("ck_comparisons_choice")),
        sa.CheckConstraint("kind IN ('samples', 'trial')", name=op.f("ck_comparisons_kind")),
    )
    op.create_table(
        "items",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("id", sa.String(100), nullable=False),
        sa.Column("question_id", sa.String(100), nullable=False),
        sa.Column("answer_ids", sa.JSON, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["question_id"], ["messages.id"], name="fk_items_question_id"),
        sa.UniqueConstraint("id", name="uq_items_id"),
        sa.UniqueConstraint("question_id", name="uq_items_question_id"),
        sa.PrimaryKeyConstraint("number", name="pk_items"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "claims",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("item_id", sa.String(100), nullable=False),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name="fk_claims_item_id"),
        sa.PrimaryKeyConstraint("number", name="pk_claims"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_claims_item_id", "claims", ["item_id"])


def _create(name: str, messages: list[str], *rest: SchemaItem) -> None:
    """A table of what people said of a question's answers. The first of `messages` is the question."""
    op.create_table(
        name,
        sa.Column("number", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("id", sa.String(100), nullable=False),
        *(sa.Column(column, sa.String(100), nullable=False) for column in messages),
        sa.Column("user", sa.String(200), nullable=False),
        *rest,
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *(sa.ForeignKeyConstraint([column], ["messages.id"], name=f"fk_{name}_{column}") for column in messages),
        sa.UniqueConstraint("id", name=f"uq_{name}_id"),
        sa.PrimaryKeyConstraint("number", name=f"pk_{name}"),
        sqlite_autoincrement=True,
    )
    op.create_index(f"ix_{name}_question_id", name, ["question_id"])
