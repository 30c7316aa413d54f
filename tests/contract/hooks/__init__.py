"""Hooks: one suite for every kind, and what only HTTP has."""
