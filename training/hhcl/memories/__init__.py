"""The cluster memories that HHCL contrasts with."""
