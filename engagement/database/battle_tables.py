"""The tables of the battles."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

METADATA: Final = MetaData()

BATTLES: Final = Table(
    "battles",
    METADATA,
    Column("battle", Text(collation="C"), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("status", Text(collation="C"), nullable=False),
    Column("state", LargeBinary, nullable=False),
    PrimaryKeyConstraint("battle", name="pk_battles"),
    CheckConstraint("status IN ('open', 'over')", name="ck_battles_status"),
    Index("ix_battles_watched", "partition", postgresql_where=text("status = 'open'")),
)
"""Every battle: `state` is `battles.BattleState` as JSON. `status` is `over` when nothing can
happen to it any more, else `open`."""

BATTLE_POINTS: Final = Table(
    "battle_points",
    METADATA,
    Column("battle", Text(collation="C"), nullable=False),
    Column("room", Text(collation="C"), nullable=False),
    Column("actor", Text(collation="C"), nullable=False),
    Column("points", BigInteger, nullable=False),
    PrimaryKeyConstraint("battle", "room", "actor", name="pk_battle_points"),
    CheckConstraint("points >= 0", name="ck_battle_points_points"),
)
"""Who gave how much. Apart from the state, which is written whole with every change."""

BATTLE_ROOMS: Final = Table(
    "battle_rooms",
    METADATA,
    Column("room", Text(collation="C"), nullable=False),
    Column("battle", Text(collation="C"), nullable=False),
    PrimaryKeyConstraint("room", name="pk_battle_rooms"),
)
"""Which battle has taken a room, from its start until its loser was punished: one at a time."""
