"""From files, names and manifest rows to crops in a gallery."""
