"""The releases of Temporal, as the command line and the HTTP API ask for them.

Here belongs how releases are found, looked at and told a word, and how that fails. How it is shown
does not.
"""
