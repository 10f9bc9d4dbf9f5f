"""Models: one file a family. Sizes in, a module with an `embedding` out.

To add one: a `Sizes` subclass and its module in a file here, and one line in `gtsearch/catalog.py`.
"""
