"""Asks PyPI whether a package of this environment has a known vulnerability. `make check` runs it.

    python tools/audit.py

Exit code 1 where one has; 0 where none has, and where nobody could be asked: then the last line says `skipped`, since
work must go on without a network. An environment in which none was found is asked about again after a day.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path

ASK = [sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off", "--skip-editable", "--timeout=5"]
MOST_SECONDS = 90
DAY_SECONDS = 24 * 3600
STAMP = Path(sys.prefix) / "audited"
"""Holds the packages in which nothing was found; its time says when."""


def main() -> int:
    packages = _packages()
    if _is_fresh(packages):
        print("audit: nothing was known of these packages within a day")
        return 0
    try:
        asked = subprocess.run(ASK, capture_output=True, text=True, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        return _skipped(f"no answer within {MOST_SECONDS} s")
    if "No module named pip_audit" in asked.stderr:
        print("audit: pip-audit is not installed; `make check` installs it, or pip install -e '.[dev]'")
        return 1
    try:
        told = json.loads(asked.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return _skipped(" ".join((asked.stderr.splitlines() or ["it said nothing"])[-1].split()))
    found = [(package, flaw) for package in told for flaw in package.get("vulns", ())]
    for package, flaw in found:
        mend = f"; mended in {', '.join(flaw['fix_versions'])}" if flaw.get("fix_versions") else ""
        print(f"audit: {package['name']} {package['version']} has {flaw['id']}{mend}")
    if found:
        return 1
    # A mirror without advisories answers that it knows no package, which pip-audit takes for good news.
    known = [package for package in told if "skip_reason" not in package]
    if not known:
        return _skipped(f"none of {len(told)} packages is known there")
    print(f"audit: no known vulnerability in {len(known)} packages; {len(told) - len(known)} are not known to PyPI")
    STAMP.write_text(packages)
    return 0


def _packages() -> str:
    """Stands for what is installed, in every version."""
    every = sorted(f"{one.name}=={one.version}" for one in distributions())
    return hashlib.sha256("\n".join(every).encode()).hexdigest()


def _is_fresh(packages: str) -> bool:
    try:
        return STAMP.read_text() == packages and time.time() - STAMP.stat().st_mtime < DAY_SECONDS
    except OSError:
        return False


def _skipped(why: str) -> int:
    print(f"audit: the advisories could not be reached ({why}); skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
