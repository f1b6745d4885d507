"""The paper's tables as data, and their comparison with the counts of the code and the metrics of runs."""
