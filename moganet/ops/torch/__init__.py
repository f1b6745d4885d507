"""The backend of PyTorch operators, for CPUs."""
