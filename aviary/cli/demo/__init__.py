"""The demo: three releases on the embedded stack, shown and checked.

Here belongs what a person is shown of them. What sets the stack up does not (`aviary.local`).
"""
