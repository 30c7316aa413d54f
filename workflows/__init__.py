"""What is decided: Temporal's workflows of a release, a canary, the admission, and drift.

Everything here is deterministic and may be replayed; the outside is reached by activities alone.
What can be decided without Temporal is a pure module (`plan`, `release_queue`, `service_states`).
"""
