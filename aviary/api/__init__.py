"""The releases over HTTP: who may, what is shown, and how a release is told a word.

Here belongs what a caller of the webhook asks about releases. What a release does does not
(`workflows`), nor how it is found (`aviary.releases`).
"""
