"""The tables of all projections, as SQLAlchemy Core. The migrations must equal them (tested).

Names carry no schema: a rebuild makes the same tables in a schema of its own and moves them over.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from engagement.database.claims import ClaimTables

METADATA: Final = MetaData()


def _bytewise() -> Text:
    """Ids and names: compared byte by byte, whatever the database's own collation is."""
    return Text(collation="C")


def _moment(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


POSITIONS: Final = Table(
    "projection_positions",
    METADATA,
    Column("topic", _bytewise(), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("owner", BigInteger, nullable=True),
    PrimaryKeyConstraint("topic", "partition", name="pk_projection_positions"),
    CheckConstraint("next_offset >= 0", name="ck_projection_positions_next_offset"),
)
"""Up to where the log is folded, and by whom it may be folded on (the projector's token).

It moves in the same transaction as the effect, which first locks this row and compares both.
"""

PROJECTORS: Final = Table(
    "projectors",
    METADATA,
    Column("token", BigInteger, Identity(always=True), nullable=False),
    Column("topic", _bytewise(), nullable=False),
    Column("name", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    _moment("connected_at"),
    _moment("alive_until"),
    PrimaryKeyConstraint("token", name="pk_projectors"),
)
"""Projectors that share a topic's partitions, each a database session. Tokens only ever grow."""

CLAIM_TABLES: Final = ClaimTables(positions=POSITIONS.name, owners=PROJECTORS.name)

TIMELINE: Final = Table(
    "timeline",
    METADATA,
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("room", _bytewise(), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("pts_ms", BigInteger, nullable=False),
    Column("type", _bytewise(), nullable=False),
    Column("event_id", _bytewise(), nullable=False),
    Column("actor", _bytewise(), nullable=False),
    _moment("at"),
    Column("event", Text, nullable=False),
    PrimaryKeyConstraint("partition", "offset", name="pk_timeline"),
    Index("uq_timeline_event", "room", "event_id", unique=True),
    Index(
        "ix_timeline_comments",
        "room",
        "offset",
        postgresql_where=text("type = 'comment.posted'"),
    ),
    Index(
        "ix_timeline_media_comments",
        *("room", "epoch", "pts_ms", "partition", "offset"),
        postgresql_where=text("type = 'comment.posted'"),
    ),
    Index(
        "ix_timeline_media_others",
        *("room", "epoch", "pts_ms", "partition", "offset"),
        postgresql_where=text("type <> 'comment.posted'"),
    ),
    Index(
        "ix_timeline_types",
        *("room", "type", "epoch", "pts_ms", "partition", "offset"),
        postgresql_where=text("type <> 'comment.posted'"),
    ),
)
"""Every fact of every room once; `event` is the record's value, byte for byte.

Comments are most of it by far, so a comment is in as few indexes as its reads need: one in log
order and one in media order. The other types, which are few, have one in common and one by type;
a timeline of all types merges the two media indexes. `uq_timeline_event` makes a fact that was
written twice one fact, however far apart the two are.
"""

TOMBSTONES: Final = Table(
    "comment_tombstones",
    METADATA,
    Column("room", _bytewise(), nullable=False),
    Column("target", _bytewise(), nullable=False),
    Column("by", _bytewise(), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    _moment("at"),
    PrimaryKeyConstraint("room", "target", name="pk_comment_tombstones"),
)
"""Removed comments. Apart from the comments themselves: a tombstone may come first."""

PRESENCE: Final = Table(
    "presence",
    METADATA,
    Column("room", _bytewise(), nullable=False),
    Column("window", BigInteger, nullable=False),
    Column("online", BigInteger, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    _moment("at"),
    PrimaryKeyConstraint("room", name="pk_presence"),
)

LIKES: Final = Table(
    "likes",
    METADATA,
    Column("room", _bytewise(), nullable=False),
    Column("window", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    _moment("at"),
    PrimaryKeyConstraint("room", name="pk_likes"),
)

ROOMS: Final = Table(
    "rooms",
    METADATA,
    Column("room", _bytewise(), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("pts_ms", BigInteger, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    _moment("at"),
    PrimaryKeyConstraint("room", name="pk_rooms"),
)
"""Where each room's newest fact stands: its epoch is the room's current one."""

SESSIONS: Final = Table(
    "room_sessions",
    METADATA,
    Column("room", _bytewise(), nullable=False),
    Column("session", _bytewise(), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("title", Text, nullable=True),
    Column("host", _bytewise(), nullable=True),
    Column("recorded", Boolean, nullable=True),
    Column("opened_offset", BigInteger, nullable=True),
    _moment("opened_at", nullable=True),
    Column("reason", Text, nullable=True),
    Column("closed_offset", BigInteger, nullable=True),
    _moment("closed_at", nullable=True),
    PrimaryKeyConstraint("room", "session", name="pk_room_sessions"),
)
"""Every live session of a room; the newest is the one that was opened last in the log."""

GIFT_ENTRIES: Final = Table(
    "gift_entries",
    METADATA,
    Column("room", _bytewise(), nullable=False),
    Column("ledger", Integer, nullable=False),
    Column("entry", BigInteger, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("room", "ledger", name="pk_gift_entries"),
)
"""Up to which entry of each ledger partition a room's gifts are added up."""

LEADERBOARD: Final = Table(
    "leaderboard",
    METADATA,
    Column("room", _bytewise(), nullable=False),
    Column("period", _bytewise(), nullable=False),
    Column("key", _bytewise(), nullable=False),
    Column("actor", _bytewise(), nullable=False),
    Column("coins", BigInteger, nullable=False),
    Column("gifts", BigInteger, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("room", "period", "key", "actor", name="pk_leaderboard"),
    Index("ix_leaderboard_coins", "room", "period", "key", text("coins DESC"), "actor"),
)
"""Coins and gifts by sender: of a live session, of a day (UTC, accepted time), and of all time."""

EARNINGS: Final = Table(
    "earnings",
    METADATA,
    Column("host", _bytewise(), nullable=False),
    Column("day", _bytewise(), nullable=False),
    Column("room", _bytewise(), nullable=False),
    Column("coins", BigInteger, nullable=False),
    Column("gifts", BigInteger, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("host", "day", "room", name="pk_earnings"),
)
"""A host's share of the gifts of a day (UTC, accepted time), by room."""

BATTLE_BOARDS: Final = Table(
    "battle_boards",
    METADATA,
    Column("room", _bytewise(), nullable=False),
    Column("battle", _bytewise(), nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("status", _bytewise(), nullable=True),
    Column("sides", Text, nullable=True),
    Column("totals", Text, nullable=True),
    Column("top", Text, nullable=True),
    Column("started", Text, nullable=True),
    Column("deadline", Text, nullable=True),
    Column("result", Text, nullable=True),
    Column("winner", _bytewise(), nullable=True),
    Column("reason", Text, nullable=True),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("room", "battle", name="pk_battle_boards"),
    Index("ix_battle_boards_battle", "battle"),
)
"""Every battle as each of its rooms was told; `sides`, `totals` and `top` as JSON."""
