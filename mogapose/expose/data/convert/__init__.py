"""Converters from published data sets to HumanData files. Each module has ``convert(source, out, ...)``."""
