#!/bin/bash
# Start SkyPilot's API server, inside the site.
set -euo pipefail
cd @ROOT@/home
setsid env -i PATH=@VENV@/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 HOME=@ROOT@/home \
  SLURM_CONF=@ROOT@/etc/slurm.conf SKYPILOT_API_SERVER_LOCAL_PORT=@API_PORT@ \
  SKYPILOT_DISABLE_USAGE_COLLECTION=1 \
  @VENV@/bin/sky api start --foreground </dev/null >>@ROOT@/log/api_server.log 2>&1 &
echo $! > @ROOT@/state/api_server.pid
