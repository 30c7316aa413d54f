"""Metrics sources: PromQL and its packs, and how it is asked over HTTP.

What the counts mean does not belong here (`analysis`).
"""
