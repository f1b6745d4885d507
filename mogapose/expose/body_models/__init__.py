"""MANO, FLAME and SMPL-X: reading their files, and the layers that pose them."""
