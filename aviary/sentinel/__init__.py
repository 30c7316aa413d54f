"""The sentinel: gives stable everything where a release that owns a canary shows no sign of life.

Here belongs what reads leases and what follows from them. It needs the routers and a catalog, and
nothing of Temporal or Kafka; how a lease is renewed does not belong here.
"""
