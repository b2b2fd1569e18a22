"""The joins: what runs from source to deployment, and from report back to the next run."""

from __future__ import annotations
