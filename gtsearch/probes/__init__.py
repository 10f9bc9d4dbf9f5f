"""Probes: what is measured of a model while it trains, beside loss and accuracy. One file a probe.

To add one: a `Probe` subclass in a file here, and one line in `gtsearch/catalog.py`.
"""
