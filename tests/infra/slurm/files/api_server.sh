#!/bin/bash
# api_server.sh up|kill, inside the site: SkyPilot's API server, as a team has it. It asks everybody
# for a password or a token but those who come from this machine without one.
set -euo pipefail
cd @ROOT@/home
case $1 in
  kill) kill -KILL -- "-$(cat @ROOT@/state/api_server.pid)" ;;
  up)
    setsid env -i PATH=@VENV@/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 HOME=@ROOT@/home \
      TMPDIR=@ROOT@/tmp SLURM_CONF=@ROOT@/etc/slurm.conf \
      SKYPILOT_API_SERVER_LOCAL_PORT=@API_PORT@ SKYPILOT_DISABLE_USAGE_COLLECTION=1 \
      ENABLE_SERVICE_ACCOUNTS=true SKYPILOT_INITIAL_BASIC_AUTH='admin:@PASSWORD_HASH@' \
      @VENV@/bin/sky api start --foreground --host 0.0.0.0 --enable-basic-auth \
      </dev/null >>@ROOT@/log/api_server.log 2>&1 &
    echo $! > @ROOT@/state/api_server.pid ;;
esac
