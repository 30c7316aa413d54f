"""The record of a release as its hash chain: read from files or a topic, and verified.

Here belongs what finds a change of the record. How links are made does not (`schemas.chain`).
"""
