"""`aviary watch`: what a GitOps controller changes in a cluster becomes releases.

Here belongs how templates are read, which of them go out together, and how what became of them is
written back. What a release does about a deploy event does not, nor how versions are made of a
template (`adapters.deployers.kubernetes`).
"""
