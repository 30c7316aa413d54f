"""The pure parts of the deployer for Docker: recipes, compose files, credentials, names."""
