#!/bin/sh
# Makes and upgrades Temporal's two databases. Safe to run again: each step skips what is done.
set -eu

tool() { temporal-sql-tool --plugin postgres12 --ep postgres -p 5432 -u temporal --db "$@"; }

for name in temporal temporal_visibility; do
  case $name in temporal) folder=temporal ;; *) folder=visibility ;; esac
  tool "$name" create
  tool "$name" setup-schema -v 0.0
  tool "$name" update-schema -d "/etc/temporal/schema/postgresql/v12/$folder/versioned"
done
