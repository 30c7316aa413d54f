"""Hooks: how another system is asked, or told, at a moment of a canary; one package for each way.

Here belongs how an event is sent and an answer read. When that is, and what a no does, does not
(`workflows/hooks.py`).
"""
