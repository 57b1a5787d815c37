"""Changing a gallery's model: embed a copy, compare, switch, or switch back."""
