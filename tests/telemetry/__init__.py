"""Traces and metrics, as a receiver of OTLP sees them.

Here belongs what leaves the process as telemetry. Logs and events do not.
"""
