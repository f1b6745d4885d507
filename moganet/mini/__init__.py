"""Real pixels for the small data sets of all tasks, and the demos that train on them."""
