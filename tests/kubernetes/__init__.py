"""Tests on a real API server: it is built at first use, and pods are small servers.

Here belongs what needs a cluster, and nothing else: what its answers mean is tried in `tests/unit`.
"""
