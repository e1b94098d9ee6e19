"""The data directory as a whole: copied while it is in use, put back, checked. Knows the files of every module."""
