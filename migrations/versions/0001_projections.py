"""The projections of the room topic, their positions and their projectors.

Revision: 0001_projections
"""

import sqlalchemy as sa
from alembic import op

revision = "0001_projections"
down_revision = None
branch_labels = None
depends_on = None

_COMMENTS = sa.text("type = 'comment.posted'")
_OTHERS = sa.text("type <> 'comment.posted'")
_MEDIA_ORDER = ["epoch", "pts_ms", "partition", "offset"]


def _bytewise(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(collation="C"), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _bigint(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "projection_positions",
        _bytewise("topic"),
        _int("partition"),
        _bigint("next_offset"),
        _bigint("owner", nullable=True),
        sa.PrimaryKeyConstraint("topic", "partition", name="pk_projection_positions"),
        sa.CheckConstraint("next_offset >= 0", name="ck_projection_positions_next_offset"),
    )
    op.create_table(
        "projectors",
        sa.Column("token", sa.BigInteger, sa.Identity(always=True), nullable=False),
        _bytewise("topic"),
        _text("name"),
        _int("pid"),
        _moment("connected_at"),
        _moment("alive_until"),
        sa.PrimaryKeyConstraint("token", name="pk_projectors"),
    )
    _create_timeline()
    op.create_table(
        "comment_tombstones",
        _bytewise("room"),
        _bytewise("target"),
        _bytewise("by"),
        _int("partition"),
        _bigint("offset"),
        _moment("at"),
        sa.PrimaryKeyConstraint("room", "target", name="pk_comment_tombstones"),
    )
    _create_counts("presence", "online")
    _create_counts("likes", "total")
    _create_rooms()


def _create_timeline() -> None:
    op.create_table(
        "timeline",
        _int("partition"),
        _bigint("offset"),
        _bytewise("room"),
        _bigint("epoch"),
        _bigint("pts_ms"),
        _bytewise("type"),
        _bytewise("event_id"),
        _bytewise("actor"),
        _moment("at"),
        _text("event"),
        sa.PrimaryKeyConstraint("partition", "offset", name="pk_timeline"),
    )
    op.create_index("uq_timeline_event", "timeline", ["room", "event_id"], unique=True)
    op.create_index(
        "ix_timeline_comments", "timeline", ["room", "offset"], postgresql_where=_COMMENTS
    )
    op.create_index(
        "ix_timeline_media_comments",
        "timeline",
        ["room", *_MEDIA_ORDER],
        postgresql_where=_COMMENTS,
    )
    op.create_index(
        "ix_timeline_media_others", "timeline", ["room", *_MEDIA_ORDER], postgresql_where=_OTHERS
    )
    op.create_index(
        "ix_timeline_types", "timeline", ["room", "type", *_MEDIA_ORDER], postgresql_where=_OTHERS
    )


def _create_counts(table: str, value: str) -> None:
    op.create_table(
        table,
        _bytewise("room"),
        _bigint("window"),
        _bigint(value),
        _int("partition"),
        _bigint("offset"),
        _moment("at"),
        sa.PrimaryKeyConstraint("room", name=f"pk_{table}"),
    )


def _create_rooms() -> None:
    op.create_table(
        "rooms",
        _bytewise("room"),
        _bigint("epoch"),
        _bigint("pts_ms"),
        _int("partition"),
        _bigint("offset"),
        _moment("at"),
        sa.PrimaryKeyConstraint("room", name="pk_rooms"),
    )
    op.create_table(
        "room_sessions",
        _bytewise("room"),
        _bytewise("session"),
        _int("partition"),
        _text("title", nullable=True),
        _bytewise("host", nullable=True),
        sa.Column("recorded", sa.Boolean, nullable=True),
        _bigint("opened_offset", nullable=True),
        _moment("opened_at", nullable=True),
        _text("reason", nullable=True),
        _bigint("closed_offset", nullable=True),
        _moment("closed_at", nullable=True),
        sa.PrimaryKeyConstraint("room", "session", name="pk_room_sessions"),
    )


def downgrade() -> None:
    for table in (
        "room_sessions",
        "rooms",
        "likes",
        "presence",
        "comment_tombstones",
        "timeline",
        "projectors",
        "projection_positions",
    ):
        op.drop_table(table)
