"""Jobs: work that outlives its request, runs in the background, and can be cancelled or resumed."""
