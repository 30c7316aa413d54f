"""Numbers about releases, from what they tell on `aviary.events`.

Here belongs what is counted and measured of releases, and how it is shown as metrics. What a
process counts of its own work does not (`aviary.telemetry`).
"""
