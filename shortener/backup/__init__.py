"""Work on the whole data directory: backup, restore, verification, compaction. Knows the files of every module."""
