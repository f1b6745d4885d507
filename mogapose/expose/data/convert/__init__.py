"""From the layouts in which data sets come to HumanData files. Each module has ``convert(source, out, ...)``."""
