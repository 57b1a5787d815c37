"""Watches, the events that crops cause as they arrive, and their delivery."""
