"""The repository itself: docs, make, lock files, the image, and rules of the code.

Here belongs what is true of the repository and of no release. What Aviary does does not.
"""
