"""The routers that the embedded stack's users can come through, and what each says of itself.

Here belongs one module a router: its server on this machine, and how its own configuration and
counters are read. What shifts its traffic does not (`adapters.routers`).
"""
