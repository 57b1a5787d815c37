"""Changing a gallery's model: embed beside, compare, switch, go back."""
