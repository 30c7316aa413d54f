"""Workflows on a real Temporal server, over adapters in memory.

Here belongs what Temporal has a part in. What is decided without it does not (`tests/unit`).
"""
