"""fal (queue.fal.run)."""
