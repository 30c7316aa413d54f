"""The hash chain of a release: how it is made, and what is found in one that was touched."""
