"""The statistics of judging."""
