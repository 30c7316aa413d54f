"""What all routers have in common whose routes are objects of Kubernetes.

Here belong the route that an object carries, the Services of versions, and reading, comparing and
writing. What the object of one kind looks like does not.
"""
