"""The Helm chart and the kustomize base, by the programs that read them, on a real API server.

What Aviary does in a cluster is tried elsewhere, and nothing of it here.
"""
