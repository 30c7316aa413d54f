"""Several routers for one service, as one: an edge load balancer and a mesh, say.

Here belongs what makes of their ports one of each. What a single platform needs does not: the
routers are given, and known by their ports alone. There is no description of a kind: a catalog
writes a list (`schemas.router_spec`).
"""
