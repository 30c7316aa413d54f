"""What Aviary needs of Temporal, asked of its development server and of its production server.

Here belongs what may differ between the two, and the stack that runs on a cluster; not what a
workflow does, which `tests/workflows` asks of either. On the production server (`--engine cluster`)
it is a part of `make chaos`, since the first run builds it.
"""
