"""The Kubernetes API, for every adapter that drives something there.

Here belongs how an API server is found, asked and understood: connections, credentials, requests
and their errors. What is asked of it, and why, does not: that is in the deployer and the routers.
"""
