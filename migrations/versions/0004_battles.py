"""PK battles, who gave what in them, and the rooms that they have taken.

Revision: 0004_battles
"""

import sqlalchemy as sa
from alembic import op

revision = "0004_battles"
down_revision = "0003_ledger"
branch_labels = None
depends_on = None


def _name(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(collation="C"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "battles",
        _name("battle"),
        sa.Column("partition", sa.Integer, nullable=False),
        _name("status"),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("battle", name="pk_battles"),
        sa.CheckConstraint("status IN ('open', 'over')", name="ck_battles_status"),
    )
    op.create_index(
        "ix_battles_watched", "battles", ["partition"], postgresql_where=sa.text("status = 'open'")
    )
    op.create_table(
        "battle_points",
        _name("battle"),
        _name("room"),
        _name("actor"),
        sa.Column("points", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("battle", "room", "actor", name="pk_battle_points"),
        sa.CheckConstraint("points >= 0", name="ck_battle_points_points"),
    )
    op.create_table(
        "battle_rooms",
        _name("room"),
        _name("battle"),
        sa.PrimaryKeyConstraint("room", name="pk_battle_rooms"),
    )


def downgrade() -> None:
    op.drop_table("battle_rooms")
    op.drop_table("battle_points")
    op.drop_table("battles")
