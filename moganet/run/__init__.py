"""From a config to a run: reading it, checking it against the data, and the Runner with its hooks."""
