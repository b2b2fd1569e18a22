"""The nouns that travel, one module each, in the order of the flow. Frozen, without I/O."""

from __future__ import annotations
