"""What people see, in a real browser: the Temporal UI of releases, and the report."""
