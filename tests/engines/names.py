"""What `pytest --engine` takes."""

DEVELOPMENT, CLUSTER = "development", "cluster"
