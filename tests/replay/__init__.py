"""Recorded histories against the workflows of today.

Here belongs the proof that a running release survives a change. What a workflow decides does not.
"""
