"""Routers: each reads and writes how the requests of a service are split.

Here belongs what one platform needs to do so. When a route is written, and what is undone, does not
(`workflows`).
"""
