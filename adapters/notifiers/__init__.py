"""Notifiers: how people are told.

Here belongs how a notice is written and sent. Which notices there are, and who gets which, does not
(`schemas.notice`).
"""

from __future__ import annotations

from adapters.notifiers.log import LogNotifier

__all__ = ["LogNotifier"]
