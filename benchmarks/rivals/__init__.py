"""The weak stage's claim, ours beside plain Ray Tune and plain Optuna: `python -m benchmarks.rivals --help`.

`work` and `plain` know nothing of gtsearch: what a rival's worker loads is what its user's would.
"""
