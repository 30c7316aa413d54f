"""Numbers about releases: what is read from events, DORA's four, and what is shown of both."""
