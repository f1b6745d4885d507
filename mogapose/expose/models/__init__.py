"""The estimator: heads, losses, rotations, and the names of released checkpoints."""
