"""Two builds of Aviary side by side, on a real server.

Here belongs what an upgrade must not lose. What one build does does not (`tests/workflows`).
"""
