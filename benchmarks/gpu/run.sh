#!/usr/bin/env bash
# The GPU suite and benchmarks on a machine that has only Python and torch: bash benchmarks/gpu/run.sh WHEELS FILE [--only step …]
# WHEELS is a folder of wheels that the machine lacks; FILE receives the report.
set -euo pipefail
wheels=$(realpath "$1"); file=$(realpath "$2"); shift 2
cd "$(dirname "$0")/../.."
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if compgen -G "$wheels/*.whl" >/dev/null; then
  python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl
fi
PYTHONPATH=$site PYTHONUNBUFFERED=1 python3 -m benchmarks.gpu.report "$file" "$@"
