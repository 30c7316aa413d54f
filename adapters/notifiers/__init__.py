"""Notifiers: how people are told."""

from __future__ import annotations

from adapters.notifiers.log import LogNotifier

__all__ = ["LogNotifier"]
