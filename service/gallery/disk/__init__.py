"""Galleries on this machine: SQLite is the source of truth, and rows in memory follow it."""
