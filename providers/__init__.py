"""One folder per image provider, a shared vocabulary, and the sender of their requests."""
