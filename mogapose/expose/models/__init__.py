"""The estimator with its heads, losses and rotations, and the map from MMHuman3D's names to ours."""
