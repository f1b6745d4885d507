"""Metrics of hands and faces, and exact distances to the surface of a mesh."""
