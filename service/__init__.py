"""The service: embeds crops of people and finds the same identity in a gallery."""
