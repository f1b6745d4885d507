"""Real pixels for the small data sets of all tasks, and the part of the demos that all tasks share."""
