"""The projections of gifts and battles.

Revision: 0005_gift_projections
"""

import sqlalchemy as sa
from alembic import op

revision = "0005_gift_projections"
down_revision = "0004_battles"
branch_labels = None
depends_on = None


def _name(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(collation="C"), nullable=nullable)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=True)


def _bigint(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def upgrade() -> None:
    op.create_table(
        "gift_entries",
        _name("room"),
        _int("ledger"),
        _bigint("entry"),
        _int("partition"),
        _bigint("offset"),
        sa.PrimaryKeyConstraint("room", "ledger", name="pk_gift_entries"),
    )
    op.create_table(
        "leaderboard",
        *(_name("room"), _name("period"), _name("key"), _name("actor")),
        *(_bigint("coins"), _bigint("gifts"), _int("partition"), _bigint("offset")),
        sa.PrimaryKeyConstraint("room", "period", "key", "actor", name="pk_leaderboard"),
    )
    op.create_index(
        "ix_leaderboard_coins",
        "leaderboard",
        ["room", "period", "key", sa.text("coins DESC"), "actor"],
    )
    op.create_table(
        "earnings",
        *(_name("host"), _name("day"), _name("room")),
        *(_bigint("coins"), _bigint("gifts"), _int("partition"), _bigint("offset")),
        sa.PrimaryKeyConstraint("host", "day", "room", name="pk_earnings"),
    )
    op.create_table(
        "battle_boards",
        *(_name("room"), _name("battle"), _bigint("revision"), _name("status", nullable=True)),
        *(_text("sides"), _text("totals"), _text("top"), _text("started"), _text("deadline")),
        *(_text("result"), _name("winner", nullable=True), _text("reason")),
        *(_int("partition"), _bigint("offset")),
        sa.PrimaryKeyConstraint("room", "battle", name="pk_battle_boards"),
    )
    op.create_index("ix_battle_boards_battle", "battle_boards", ["battle"])


def downgrade() -> None:
    for table in ("battle_boards", "earnings", "leaderboard", "gift_entries"):
        op.drop_table(table)
