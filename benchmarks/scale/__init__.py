"""How much bookkeeping costs: our journal and coordinator beside Optuna's storages."""
