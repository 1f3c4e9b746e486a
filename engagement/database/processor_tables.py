"""The tables that the ledger and the battles share: who owns which partition and up to where it is
decided, and what is still to be told."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from engagement.database.claims import ClaimTables

METADATA: Final = MetaData()

POSITIONS: Final = Table(
    "decider_positions",
    METADATA,
    Column("topic", Text(collation="C"), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("owner", BigInteger, nullable=True),
    Column("next_row", BigInteger, nullable=False, server_default="1"),
    PrimaryKeyConstraint("topic", "partition", name="pk_decider_positions"),
    CheckConstraint("next_offset >= 0", name="ck_decider_positions_next_offset"),
)
"""Up to where a topic is decided, by whom, and the number of the next outbox row.

It moves in the same transaction as the effect, which first locks this row and compares.
"""

OWNERS: Final = Table(
    "decider_owners",
    METADATA,
    Column("token", BigInteger, Identity(always=True), nullable=False),
    Column("topic", Text(collation="C"), nullable=False),
    Column("name", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("connected_at", DateTime(timezone=True), nullable=False),
    Column("alive_until", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("token", name="pk_decider_owners"),
)
"""Processes that share a topic's partitions, each a database session. Tokens only ever grow."""

OUTBOX: Final = Table(
    "outbox",
    METADATA,
    Column("topic", Text(collation="C"), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("records", LargeBinary, nullable=False),
    PrimaryKeyConstraint("topic", "partition", "number", name="pk_outbox"),
)
"""What was decided and may not be on the log yet: one row per transaction and partition."""

CLAIM_TABLES: Final = ClaimTables(positions=POSITIONS.name, owners=OWNERS.name)
