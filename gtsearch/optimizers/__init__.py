"""Optimizers over a stack: one file a family.

To add one: an `Optimizer` subclass in a file here, and one line in `gtsearch/catalog.py`.
"""
