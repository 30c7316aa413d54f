"""What is decided: Temporal's workflows of a release, a canary, the admission, and drift.

Here belongs what is deterministic and may be replayed. What reaches the outside does not:
activities alone do. What can be decided without Temporal is a pure module (`plan`, `canary_plan`,
`release_queue`, `service_states`).
"""
