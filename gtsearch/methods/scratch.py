"""`scratch`: the target as its family builds it, nothing transferred. The reference of every comparison."""

from __future__ import annotations

from gtsearch.methods.base import Method


class Scratch(Method):
    """Nothing is changed; the reference."""
