"""The tables of the ledger. Wrong books are refused by their constraints, whoever writes them."""

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
    SmallInteger,
    Table,
    Text,
    text,
)

METADATA: Final = MetaData()


def _name(column: str) -> Column[object]:
    """Ids and names: compared byte by byte, whatever the database's own collation is."""
    return Column(column, Text(collation="C"), nullable=False)


def _number(column: str) -> Column[object]:
    return Column(column, BigInteger, nullable=False)


ACCOUNTS: Final = Table(
    "ledger_accounts",
    METADATA,
    Column("partition", Integer, nullable=False),
    _name("account"),
    _number("debits"),
    _number("credits"),
    _number("held"),
    PrimaryKeyConstraint("partition", "account", name="pk_ledger_accounts"),
    CheckConstraint("debits >= 0 AND credits >= 0", name="ck_ledger_accounts_sides"),
    CheckConstraint("held >= 0", name="ck_ledger_accounts_held"),
    CheckConstraint(
        "credits - debits - held >= 0 OR account IN ('purchases', 'promotions')",
        name="ck_ledger_accounts_not_overdrawn",
    ),
    Index("ix_ledger_accounts_account", "account"),
)
"""What was ever debited and credited. A wallet is in one partition; what several partitions credit
has a row in each, so no two owners write the same row, and is their sum."""

TRANSFERS: Final = Table(
    "ledger_transfers",
    METADATA,
    Column("partition", Integer, nullable=False),
    _number("entry"),
    Column("line", SmallInteger, nullable=False),
    _name("debit"),
    _name("credit"),
    _number("coins"),
    _name("reason"),
    _name("account"),
    _name("request"),
    PrimaryKeyConstraint("partition", "entry", "line", name="pk_ledger_transfers"),
    CheckConstraint("coins > 0", name="ck_ledger_transfers_coins"),
    CheckConstraint("debit <> credit", name="ck_ledger_transfers_two_accounts"),
)
"""Every line of every entry; only ever added to."""

REQUESTS: Final = Table(
    "ledger_requests",
    METADATA,
    Column("partition", Integer, nullable=False),
    _name("account"),
    _name("request"),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("outcome", LargeBinary, nullable=False),
    PrimaryKeyConstraint("account", "request", name="pk_ledger_requests"),
)
"""What became of every request, for ever: `outcome` is `ledger.Settled` as JSON."""

HOLDS: Final = Table(
    "ledger_holds",
    METADATA,
    Column("partition", Integer, nullable=False),
    _name("account"),
    _name("hold"),
    _name("to_account"),
    _number("coins"),
    _number("expires_us"),
    _name("status"),
    PrimaryKeyConstraint("account", "hold", name="pk_ledger_holds"),
    CheckConstraint("coins > 0", name="ck_ledger_holds_coins"),
    CheckConstraint(
        "status IN ('pending', 'posted', 'voided', 'expired')", name="ck_ledger_holds_status"
    ),
    Index(
        "ix_ledger_holds_pending",
        "partition",
        "expires_us",
        postgresql_where=text("status = 'pending'"),
    ),
)

CATALOGUE: Final = Table(
    "ledger_catalogue",
    METADATA,
    _name("gift"),
    Column("version", Integer, nullable=False),
    Column("terms", LargeBinary, nullable=False),
    PrimaryKeyConstraint("gift", name="pk_ledger_catalogue"),
)
"""The newest terms of each gift: `catalogue.GiftTerms` as JSON."""

TOTALS: Final = Table(
    "ledger_totals",
    METADATA,
    Column("partition", Integer, nullable=False),
    _number("next_entry"),
    _number("debits"),
    _number("credits"),
    PrimaryKeyConstraint("partition", name="pk_ledger_totals"),
    CheckConstraint("debits = credits", name="ck_ledger_totals_balance"),
)
"""Σ debits and Σ credits of a partition, each summed in SQL from what the accounts gained; a
transaction that does not balance cannot commit."""
