"""The timeline of a release, read from what Temporal keeps of its workflows.

Here belongs the reading of histories, all of it pure. How a timeline looks does not
(`aviary.report`, `aviary.cli`), and nothing is decided again.
"""
