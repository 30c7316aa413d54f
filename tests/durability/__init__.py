"""Apache Kafka itself, with brokers that die.

Here belongs what a broker of one process can't show. What the bridge does with a record does not.
"""
