#!/bin/sh
# Makes Aviary's namespace. Its retention is longer than Kafka's (7 days), so that a deploy event
# delivered again late still meets the release that it started, and is refused.
set -eu

if temporal operator namespace describe --namespace "$AVIARY_TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
  temporal operator namespace update --namespace "$AVIARY_TEMPORAL_NAMESPACE" --retention 720h
else
  temporal operator namespace create --namespace "$AVIARY_TEMPORAL_NAMESPACE" --retention 720h
fi
