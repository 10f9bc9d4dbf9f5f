"""Experiment trackers: what a run tells TensorBoard, MLflow and Weights & Biases while it goes on.

A tracker is one file with a `Tracker` (what stands in the YAML) and its `Sender`. Only `gtsearch.trackers.courier`, a
process of its own, opens a sender; workers and the driver never load a tracker's client.
"""
