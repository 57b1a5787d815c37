"""Runs two operations concurrently, one of them paused at a place that the test chooses."""
