"""Pure functions, documents and the command line, in the process.

Here belongs what needs no server; nothing that starts one, or fetches anything, does.
"""
