"""Projections: folds of the log into PostgreSQL, and the reads on top of them."""
