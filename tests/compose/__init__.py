"""`docker-compose.yml` and the Dockerfile, run for real on a Docker daemon of the tests' own.

Here belongs what the parts of that file do together, not what one of them does: the long test is
of `make chaos`. No image registry is asked: what the file names is made here under its official
name, from the same programs as packages have them. Their versions may be others than the tags
say; what is shown is that the parts start together, find each other and keep what they have to
keep.
"""
