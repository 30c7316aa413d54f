"""Odd inputs without end: every parser of what comes from outside answers or refuses, in bounds.

Here belongs what Hypothesis makes up. Chosen examples do not (`tests/unit`).
"""
