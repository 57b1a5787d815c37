"""Erasing crops: on request, by age, and everything jobs have noted about them."""
