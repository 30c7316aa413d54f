"""Debian's packages for tests, as the embedded stack has them."""

from aviary.local.unpacked import environment, unpacked

__all__ = ["environment", "unpacked"]
