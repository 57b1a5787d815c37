"""Galleries on this machine: SQLite is the truth, the rows in memory are a view of it."""
