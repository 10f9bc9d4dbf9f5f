"""Tasks: one file a family. A task turns its parameters and a split seed into train, validation and test tensors.

To add one: a `Task` subclass in a file here, and one line in `gtsearch/catalog.py`.
"""
