"""How well and how fast optimizers search: problems, peers, a simulated cluster and tables."""
