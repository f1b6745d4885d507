"""HumanData files, the data set and its transforms, and converters from published layouts."""
