"""Traces, metrics and what ties logs to them; off, and next to free, where nothing is configured.

`carrier` holds the context on its way through Kafka and Temporal, `workflow` makes the spans of
workflows and activities, `spans` those of the other processes, `ports` measures adapters, and
`configure` turns exporters on by the standard `OTEL_…` variables. Logs and what is published as
events do not belong here.
"""
