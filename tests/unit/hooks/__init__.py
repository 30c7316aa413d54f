"""Hooks: what a catalog says of them, and what makes a call once-only."""
