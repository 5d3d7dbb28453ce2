#!/bin/sh
# Point Dagster to the home, unless somebody has (Dagster's Helm chart does), and become the command.
set -eu
if [ -z "${DAGSTER_HOME:-}" ]; then
  exports=$(agar env)
  eval "$exports"
fi
exec "$@"
