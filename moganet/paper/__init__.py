"""The paper's tables as data, beside the counted and the measured numbers."""
