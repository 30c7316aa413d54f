"""Temporal's production server on this machine, built from its published module.

Here belongs what builds it, for tests and whoever wants a cluster to try; not the development
server, which is a part of the embedded stack (`aviary/local/parts.py`). Production installs
Temporal as Temporal says.
"""
