"""The page for the post-mortem: one file that shows what a release did, and why."""
