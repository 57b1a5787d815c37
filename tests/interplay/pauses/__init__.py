"""Runs two operations against each other, one of them paused at a place of the test's choice."""
