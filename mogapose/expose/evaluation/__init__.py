"""Metrics of hands and faces."""
