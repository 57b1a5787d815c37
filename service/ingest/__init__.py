"""Turn files, file names and manifest rows into crops of a gallery."""
