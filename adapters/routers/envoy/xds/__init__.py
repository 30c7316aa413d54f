"""A control plane for Envoy fleets: what the files of a folder say, sent to Envoys far away.

Here belongs all of Envoy's discovery protocol. What the files say does not, nor who writes them.
"""
