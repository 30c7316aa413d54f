"""What is done: Temporal's activities, one module a capability, with its policy and its models.

Here belongs what acts on the outside, through `adapters.ports` alone, and may be run twice with
the effect of once. What comes next does not: it is decided elsewhere (`workflows`).
"""
