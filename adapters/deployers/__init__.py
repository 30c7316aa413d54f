"""Members of the port `Deployer`, each a package of its own.

Here belongs what all of them share, beside the kinds themselves. When a version is put up and taken
down does not: `workflows` decides it.
"""
