"""Weights & Biases at the edge: a trial's environment, results, uploads, the sweep's own run."""
