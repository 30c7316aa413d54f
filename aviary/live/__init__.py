"""The live page: what moves now, for people. It asks the API as any caller does.

Here belongs what a browser is given. What is told of releases does not (`aviary.api`).
"""
