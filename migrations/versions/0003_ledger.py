"""The ledger, and what deciders share: positions, owners, outbox.

Revision: 0003_ledger
"""

import sqlalchemy as sa
from alembic import op

revision = "0003_ledger"
down_revision = "0001_projections"
branch_labels = None
depends_on = None


def _name(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(collation="C"), nullable=False)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _bigint(name: str, *, nullable: bool = False, default: str | None = None) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, server_default=default)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def upgrade() -> None:
    _create_what_deciders_share()
    _create_books()
    op.create_table(
        "ledger_requests",
        _int("partition"),
        _name("account"),
        _name("request"),
        _bytes("fingerprint"),
        _bytes("outcome"),
        sa.PrimaryKeyConstraint("account", "request", name="pk_ledger_requests"),
    )
    op.create_table(
        "ledger_catalogue",
        _name("gift"),
        _int("version"),
        _bytes("terms"),
        sa.PrimaryKeyConstraint("gift", name="pk_ledger_catalogue"),
    )


def _create_what_deciders_share() -> None:
    op.create_table(
        "decider_positions",
        _name("topic"),
        _int("partition"),
        _bigint("next_offset"),
        _bigint("owner", nullable=True),
        _bigint("next_row", default="1"),
        sa.PrimaryKeyConstraint("topic", "partition", name="pk_decider_positions"),
        sa.CheckConstraint("next_offset >= 0", name="ck_decider_positions_next_offset"),
    )
    op.create_table(
        "decider_owners",
        sa.Column("token", sa.BigInteger, sa.Identity(always=True), nullable=False),
        _name("topic"),
        sa.Column("name", sa.Text, nullable=False),
        _int("pid"),
        _moment("connected_at"),
        _moment("alive_until"),
        sa.PrimaryKeyConstraint("token", name="pk_decider_owners"),
    )
    op.create_table(
        "outbox",
        _name("topic"),
        _int("partition"),
        _bigint("number"),
        _bytes("records"),
        sa.PrimaryKeyConstraint("topic", "partition", "number", name="pk_outbox"),
    )


def _create_books() -> None:
    op.create_table(
        "ledger_accounts",
        _int("partition"),
        _name("account"),
        _bigint("debits"),
        _bigint("credits"),
        _bigint("held"),
        sa.PrimaryKeyConstraint("partition", "account", name="pk_ledger_accounts"),
        sa.CheckConstraint("debits >= 0 AND credits >= 0", name="ck_ledger_accounts_sides"),
        sa.CheckConstraint("held >= 0", name="ck_ledger_accounts_held"),
        sa.CheckConstraint(
            "credits - debits - held >= 0 OR account IN ('purchases', 'promotions')",
            name="ck_ledger_accounts_not_overdrawn",
        ),
    )
    op.create_index("ix_ledger_accounts_account", "ledger_accounts", ["account"])
    op.create_table(
        "ledger_transfers",
        _int("partition"),
        _bigint("entry"),
        sa.Column("line", sa.SmallInteger, nullable=False),
        _name("debit"),
        _name("credit"),
        _bigint("coins"),
        _name("reason"),
        _name("account"),
        _name("request"),
        sa.PrimaryKeyConstraint("partition", "entry", "line", name="pk_ledger_transfers"),
        sa.CheckConstraint("coins > 0", name="ck_ledger_transfers_coins"),
        sa.CheckConstraint("debit <> credit", name="ck_ledger_transfers_two_accounts"),
    )
    op.create_table(
        "ledger_holds",
        _int("partition"),
        _name("account"),
        _name("hold"),
        _name("to_account"),
        _bigint("coins"),
        _bigint("expires_us"),
        _name("status"),
        sa.PrimaryKeyConstraint("account", "hold", name="pk_ledger_holds"),
        sa.CheckConstraint("coins > 0", name="ck_ledger_holds_coins"),
        sa.CheckConstraint(
            "status IN ('pending', 'posted', 'voided', 'expired')", name="ck_ledger_holds_status"
        ),
    )
    op.create_index(
        "ix_ledger_holds_pending",
        "ledger_holds",
        ["partition", "expires_us"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "ledger_totals",
        _int("partition"),
        _bigint("next_entry"),
        _bigint("debits"),
        _bigint("credits"),
        sa.PrimaryKeyConstraint("partition", name="pk_ledger_totals"),
        sa.CheckConstraint("debits = credits", name="ck_ledger_totals_balance"),
    )


def downgrade() -> None:
    for table in (
        *("ledger_totals", "ledger_catalogue", "ledger_holds", "ledger_requests"),
        *("ledger_transfers", "ledger_accounts", "outbox", "decider_owners", "decider_positions"),
    ):
        op.drop_table(table)
