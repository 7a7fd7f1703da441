"""`python -m mfo` is the command line."""

from __future__ import annotations

from mfo.cli import main

if __name__ == "__main__":
    main()
