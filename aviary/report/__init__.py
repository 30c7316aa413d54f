"""The page for the post-mortem: one file that shows what a release did, and why.

Here belongs the drawing of a timeline, all of it pure. What the timeline holds does not
(`aviary.history`).
"""
