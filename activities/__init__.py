"""What is done: Temporal's activities, one module a capability, with its policy and its models.

An activity acts on the outside through `adapters.ports` alone, and may be run twice with the effect
of once. What comes next is never decided here (`workflows`).
"""
