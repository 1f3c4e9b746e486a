"""Statements that merge the folded rows of a batch into a keyed table, all of them at once.

The rows travel as one array per column (`unnest`): one statement and one round trip however many
rows there are. Each merge but `add_up` is idempotent, so that a fact which is folded twice changes
nothing.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, Column, Table, bindparam, column, func, select
from sqlalchemy.dialects.postgresql import Insert, insert


def keep_newest(table: Table, by: Column[Any]) -> Insert:
    """The row with the greater `by` stands."""
    statement = _insert_given(table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={one.name: statement.excluded[one.name] for one in _values(table)},
        where=statement.excluded[by.name] > by,
    )


def keep_first(table: Table) -> Insert:
    """The row that was there first stands."""
    return _insert_given(table).on_conflict_do_nothing(
        index_elements=list(table.primary_key.columns)
    )


def fill_in(table: Table) -> Insert:
    """What is known stands; what is NULL is filled in."""
    statement = _insert_given(table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={one.name: func.coalesce(one, statement.excluded[one.name]) for one in _values(table)},
    )


def add_up(table: Table, sums: Iterable[Column[Any]]) -> Insert:
    """What is given is added to `sums`; of the other columns the given one stands.

    Not idempotent: the caller leaves out what was added before.
    """
    statement = _insert_given(table)
    names = {one.name for one in sums}
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={
            one.name: one + statement.excluded[one.name]
            if one.name in names
            else statement.excluded[one.name]
            for one in _values(table)
        },
    )


def given(table: Table, rows: Iterable[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """The parameters of these statements, from rows in the table's order of columns.

    Sorted by key: two writers can then never wait for each other in a circle.
    """
    keys = len(table.primary_key.columns)
    ordered = sorted(rows, key=lambda row: row[:keys])
    names = [one.name for one in table.columns]
    return {
        name: list(values) for name, values in zip(names, zip(*ordered, strict=True), strict=True)
    }


def _values(table: Table) -> list[Column[Any]]:
    return [one for one in table.columns if not one.primary_key]


def _insert_given(table: Table) -> Insert:
    arrays = [bindparam(one.name, type_=ARRAY(one.type)) for one in table.columns]
    names = [column(one.name, one.type) for one in table.columns]
    rows = func.unnest(*arrays).table_valued(*names).render_derived(name="given")
    return insert(table).from_select(
        [one.name for one in table.columns], select(*(rows.c[one.name] for one in names))
    )
