"""One suite for every deployer.

Here belongs what every member of the port must do, seen from outside of it. What only one of them
does belongs to its own module, and nothing here reads its code.
"""
