"""The Unleash server from its npm package, with a PostgreSQL: for tests, benchmarks and the demo.

Here belongs what installs and runs it. Nothing of Aviary that is used in production does.
"""
