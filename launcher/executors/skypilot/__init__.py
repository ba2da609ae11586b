"""Trials as SkyPilot tasks: on managed jobs, on reused clusters, or on a cluster each.

`executor` keeps the promises of the port, over the four methods of `calls.Sky`; `sdk` is SkyPilot
itself behind them. `placing` says where a job goes, `ledger` remembers what was asked for under
which name, `queues` lists what runs, `returns` brings home what a job left, `outcomes` says what
it all means. `wrapping` turns a job into the script of a task, and what the task printed back into
files. `resources` and `prices` say what a sweep's machines are and what they cost.
"""
