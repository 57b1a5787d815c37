"""Work that outlives its request: accepted, run in the background, followed, cancelled, resumed."""
