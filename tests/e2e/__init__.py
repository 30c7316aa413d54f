"""Whole releases on the embedded stack, seen from outside.

Here belongs what needs all parts at once. What fewer parts can show does not.
"""
