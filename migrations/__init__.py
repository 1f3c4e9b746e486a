"""Alembic migrations of the projections' schema."""
