"""Segmind (api.segmind.com)."""
