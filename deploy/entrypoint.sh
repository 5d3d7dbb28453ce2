#!/bin/sh
# Sets DAGSTER_HOME to the folder in the home, unless it is set already (Dagster's Helm chart sets it), then runs the
# command.
set -eu
if [ -z "${DAGSTER_HOME:-}" ]; then
  exports=$(agar env)
  eval "$exports"
fi
exec "$@"
