"""Proofs over topics and tables: that what is there follows from what was asked, and only that."""
