"""The registry of kinds, and the connections of the settings."""
