"""Scenario (api.cloud.scenario.com)."""
