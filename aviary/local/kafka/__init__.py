"""Apache Kafka itself on this machine, fetched from Maven Central.

Here belongs what fetches it and what a node is started with, for tests and for the engine
`cluster` of the embedded stack; not the broker in memory, which is a part of the stack
(`aviary/local/parts.py`).
"""
