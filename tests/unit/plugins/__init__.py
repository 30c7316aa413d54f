"""Router plugins."""
