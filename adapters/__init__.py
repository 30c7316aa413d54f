"""The outside: one module or package for each router, metrics source, notifier, and for Kafka.

Here belongs all that knows a client library or a wire format. An adapter fulfils a protocol of
`adapters.ports` and raises the errors of `adapters.errors`; it decides nothing.
"""
