"""Real servers behind TLS, credentials and client certificates."""
