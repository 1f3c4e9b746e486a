"""The projections of the room topic, their positions and their owner.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _bigint(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def upgrade() -> None:
    op.create_table(
        "projection_positions",
        _text("topic"),
        _int("partition"),
        _bigint("next_offset"),
        sa.PrimaryKeyConstraint("topic", "partition", name="pk_projection_positions"),
    )
    op.create_table(
        "projection_owners",
        _text("topic"),
        _text("owner"),
        sa.Column("renewed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("topic", name="pk_projection_owners"),
    )
    _create_timeline()
    _create_comments()
    op.create_table(
        "presence",
        _text("room"),
        _bigint("window"),
        _int("online"),
        _bigint("joined_total"),
        _bigint("left_total"),
        _bigint("offset"),
        sa.PrimaryKeyConstraint("room", name="pk_presence"),
    )
    op.create_table(
        "likes",
        _text("room"),
        _bigint("window"),
        _bigint("total"),
        _bigint("offset"),
        sa.PrimaryKeyConstraint("room", name="pk_likes"),
    )
    op.create_table(
        "rooms",
        _text("room"),
        _text("status"),
        _text("title"),
        _text("host"),
        _text("session"),
        sa.Column("recorded", sa.Boolean, nullable=False),
        _bigint("opened_us"),
        sa.Column("closed_us", sa.BigInteger, nullable=True),
        _bigint("offset"),
        sa.PrimaryKeyConstraint("room", name="pk_rooms"),
    )


def _create_timeline() -> None:
    op.create_table(
        "timeline",
        _int("partition"),
        _bigint("offset"),
        _text("room"),
        _int("epoch"),
        _bigint("pts_ms"),
        _text("type"),
        _text("event_id"),
        sa.Column("event", sa.Text, nullable=False, comment="the record's value, byte for byte"),
        sa.PrimaryKeyConstraint("partition", "offset", name="pk_timeline"),
    )
    op.create_index(
        "ix_timeline_media", "timeline", ["room", "epoch", "pts_ms", "partition", "offset"]
    )
    op.create_index(
        "ix_timeline_rare",
        "timeline",
        ["room", "type", "epoch", "pts_ms"],
        postgresql_where=sa.text("type <> 'comment.posted'"),
    )


def _create_comments() -> None:
    op.create_table(
        "comments",
        _int("partition"),
        _bigint("offset"),
        _text("room"),
        _text("event_id"),
        _text("actor"),
        _bigint("posted_us"),
        _text("text"),
        sa.PrimaryKeyConstraint("partition", "offset", name="pk_comments"),
    )
    op.create_index("ix_comments_room", "comments", ["room", "offset"])
    op.create_table(
        "comment_tombstones",
        _text("room"),
        _text("target"),
        _text("by"),
        _int("partition"),
        _bigint("offset"),
        _int("epoch"),
        _bigint("pts_ms"),
        sa.PrimaryKeyConstraint("room", "target", name="pk_comment_tombstones"),
    )


def downgrade() -> None:
    for table in (
        "rooms",
        "likes",
        "presence",
        "comment_tombstones",
        "comments",
        "timeline",
        "projection_owners",
        "projection_positions",
    ):
        op.drop_table(table)
