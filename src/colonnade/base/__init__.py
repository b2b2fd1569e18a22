"""What every floor may lean on: errors, ids, the clock and text. Standard library only."""

from __future__ import annotations
