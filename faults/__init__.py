"""Faults inflicted on purpose on whole runs, and what was lost by them. `python -m faults`; docs/reliability.md."""
