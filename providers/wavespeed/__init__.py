"""WaveSpeed (api.wavespeed.ai)."""
