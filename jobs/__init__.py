"""The durable record of every generation, its state machine and the runner that drives it."""
