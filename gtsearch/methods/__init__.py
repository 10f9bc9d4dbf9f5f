"""Methods: how the target starts and is updated. One file a method: hooks, never a loop.

To add one: a `Method` subclass in a file here, and one line in `gtsearch/catalog.py`.
"""
