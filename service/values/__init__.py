"""Values as people and programs write them: names, times, time zones."""
