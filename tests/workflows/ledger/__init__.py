"""A service with a database: two versions with different columns, and what migrates between them.

Here belong the service, its migrations and the PostgreSQL that both use, each a real process. Which
hooks call what is said by the tests.
"""
