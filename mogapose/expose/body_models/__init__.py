"""MANO, FLAME and SMPL-X: their files, and the layers that pose them."""
