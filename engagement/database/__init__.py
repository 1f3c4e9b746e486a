"""The embedded PostgreSQL and the connection to whichever one is used."""
