"""HumanData files, the data set with its transforms, files of face scans, and converters from published layouts."""
