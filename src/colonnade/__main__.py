"""``python -m colonnade``."""

from __future__ import annotations

from colonnade.cli.main import main

if __name__ == "__main__":
    main()
