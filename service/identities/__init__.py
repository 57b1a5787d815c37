"""Identities in a gallery: labels set by hand, and groups found by clustering."""
