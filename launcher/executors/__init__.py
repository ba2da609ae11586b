"""Where trials run: a local process, a simulated cluster, SkyPilot."""
