"""The timeline of a release, read from what Temporal keeps of its workflows."""
