"""`python -m gtsearch`."""

import sys

from gtsearch.cli import main

if __name__ == "__main__":
    sys.exit(main())
