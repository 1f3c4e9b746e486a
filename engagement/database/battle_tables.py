"""The tables of the battles."""

from typing import Final

from sqlalchemy import (
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
    Index("ix_battles_watched", "partition", postgresql_where=text("status <> 'over'")),
)
"""Every battle: `state` is `battles.BattleState` as JSON. `status` is `over` when nothing can
happen to it any more, else `open`."""

BATTLE_ROOMS: Final = Table(
    "battle_rooms",
    METADATA,
    Column("room", Text(collation="C"), nullable=False),
    Column("battle", Text(collation="C"), nullable=False),
    PrimaryKeyConstraint("room", name="pk_battle_rooms"),
)
"""Which battle has taken a room, from its start to its end: one at a time."""
