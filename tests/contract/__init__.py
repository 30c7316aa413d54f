"""Adapters: one suite for each port, that every member of it passes, against real parts.

Here belongs what may be expected of any member, and of one capability. How releases use it does
not.
"""
