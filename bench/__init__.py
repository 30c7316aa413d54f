"""Benchmarks: `python -m bench`, each figure beside its floor, measured in the same run.

A floor is what the parts underneath take for the same work without Aviary. Floor and figure take
turns, so that a busy minute of the machine hits both. Here belongs what is measured; whether it is
right does not (`tests`).
"""
