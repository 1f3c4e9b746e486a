"""The tables of all projections, as SQLAlchemy Core. The migrations must equal them (tested)."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

METADATA: Final = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_name)s"}
)

POSITIONS: Final = Table(
    "projection_positions",
    METADATA,
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("topic", "partition", name="pk_projection_positions"),
)
"""Up to where the log is folded; moves in the same transaction as the effect."""

OWNERS: Final = Table(
    "projection_owners",
    METADATA,
    Column("topic", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("renewed_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("topic", name="pk_projection_owners"),
)
"""Who may write: every transaction checks it, so a projector that slept commits nothing."""

TIMELINE: Final = Table(
    "timeline",
    METADATA,
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("room", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("pts_ms", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("event", Text, nullable=False, comment="the record's value, byte for byte"),
    PrimaryKeyConstraint("partition", "offset", name="pk_timeline"),
    Index("ix_timeline_media", "room", "epoch", "pts_ms", "partition", "offset"),
    Index(
        "ix_timeline_rare",
        "room",
        "type",
        "epoch",
        "pts_ms",
        postgresql_where=text("type <> 'comment.posted'"),
    ),
)

COMMENTS: Final = Table(
    "comments",
    METADATA,
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("room", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("posted_us", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("partition", "offset", name="pk_comments"),
    Index("ix_comments_room", "room", "offset"),
)

TOMBSTONES: Final = Table(
    "comment_tombstones",
    METADATA,
    Column("room", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("pts_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("room", "target", name="pk_comment_tombstones"),
)
"""Removed comments. Kept apart from the comments: a tombstone may come first."""

PRESENCE: Final = Table(
    "presence",
    METADATA,
    Column("room", Text, nullable=False),
    Column("window", BigInteger, nullable=False),
    Column("online", Integer, nullable=False),
    Column("joined_total", BigInteger, nullable=False),
    Column("left_total", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("room", name="pk_presence"),
)

LIKES: Final = Table(
    "likes",
    METADATA,
    Column("room", Text, nullable=False),
    Column("window", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("room", name="pk_likes"),
)

ROOMS: Final = Table(
    "rooms",
    METADATA,
    Column("room", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("recorded", Boolean, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("closed_us", BigInteger, nullable=True),
    Column("offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("room", name="pk_rooms"),
)
