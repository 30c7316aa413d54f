"""The builds of Aviary itself: which one this is, and what becomes of releases of the others.

A build is Temporal's Worker Deployment Version. Here belong the build's name, the conversation
with Temporal about builds, and the keeper that runs beside a worker. Nothing here knows what a
release does: it knows only whether its history replays.
"""
