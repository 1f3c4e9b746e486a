"""All tables of the live side, for the migrations."""

from typing import Final

from sqlalchemy import MetaData

from engagement.database import battle_tables, ledger_tables, processor_tables

METADATA: Final[tuple[MetaData, ...]] = (
    processor_tables.METADATA,
    ledger_tables.METADATA,
    battle_tables.METADATA,
)
