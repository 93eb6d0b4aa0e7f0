"""One file per image provider, a shared vocabulary and the runner that sends their requests."""
