"""Who said an operator's word; of those that were said before, nobody knows."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("standings", sa.Column("said_by", sa.String(200)))
