#!/bin/bash
# api_server.sh up|kill, inside the site: SkyPilot's API server.
set -euo pipefail
cd @ROOT@/home
case $1 in
  kill) kill -KILL -- "-$(cat @ROOT@/state/api_server.pid)" ;;
  up)
    setsid env -i PATH=@VENV@/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 HOME=@ROOT@/home \
      TMPDIR=@ROOT@/tmp SLURM_CONF=@ROOT@/etc/slurm.conf \
      SKYPILOT_API_SERVER_LOCAL_PORT=@API_PORT@ SKYPILOT_DISABLE_USAGE_COLLECTION=1 \
      @VENV@/bin/sky api start --foreground </dev/null >>@ROOT@/log/api_server.log 2>&1 &
    echo $! > @ROOT@/state/api_server.pid ;;
esac
