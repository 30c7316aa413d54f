"""Statistics: from readings of metrics to verdicts. Pure: no I/O, no clock, no Temporal.

Here belongs whatever has a formula, with its source. Queries, and when they are asked, belong to
`activities`; what follows from a verdict belongs to `workflows`.
"""
