"""The torch backend: PyTorch operators, for CPUs."""
