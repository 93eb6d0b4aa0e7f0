"""The embedded draft engine: deterministic pictures without weights, key or network; never AI, and it says so."""
