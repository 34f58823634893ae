"""An operator's word about whose votes may teach."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "standings",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("word", sa.String(20), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("word IN ('restored', 'distrusted', 'judged')", name=op.f("ck_standings_word")),
        sa.PrimaryKeyConstraint("number", name="pk_standings"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_standings_user", "standings", ["user"])
