"""A small Kubernetes on this machine: a real API server, real controllers, and pods that answer.

Here belongs what builds and runs it, for tests and the demo. Nothing of Aviary that is used in
production needs it.
"""
