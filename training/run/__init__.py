"""What every run does, whatever its method: set up, measure, log, keep the best epoch."""
