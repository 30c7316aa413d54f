"""The builds of Aviary itself: which one this is, and what becomes of releases of the others.

A build is Temporal's Worker Deployment Version. Here belong the build's name, the conversation
with Temporal about builds, and the keeper that runs beside a worker. What a release does does not
belong here: only whether its history replays.
"""
