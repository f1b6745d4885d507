"""Reads a config, checks it against the data and builds a Runner with this project's hooks."""
