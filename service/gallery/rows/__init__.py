"""Searchable rows in memory, and exact nearest-neighbour search over them."""
