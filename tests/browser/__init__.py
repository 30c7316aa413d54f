"""What people see, in a real browser: the Temporal UI of releases, and the report.

Here belongs what only a browser shows. The text of a page does not (`tests/unit`).
"""
