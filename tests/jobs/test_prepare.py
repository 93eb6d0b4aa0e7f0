"""Choosing a provider from what they can do."""

from dataclasses import replace

import pytest

from controlnet_mcp.jobs.prepare import obstacles
from controlnet_mcp.jobs.request import GenerateRequest, parse_extra, parse_modalities
from tests.support.job_layer import ScriptedProvider


@pytest.mark.parametrize(("most", "possible"), [(2, False), (3, True)])
def test_each_control_is_counted_once(most: int, *, possible: bool) -> None:
    """One modality of the control picture and two further controls are three."""
    provider = ScriptedProvider("none", cancels=True)
    provider.capabilities = replace(provider.capabilities, max_controls=most, picture_per_control=True)
    further = [{"modality": "depth", "image": "a.png"}, {"modality": "pose", "image": "b.png"}]
    asked = GenerateRequest.model_validate({"prompt": "a", "control_image": "c.png", "extra_controls": further})
    modalities = (*parse_modalities(asked.modality), *(parse_extra(row.modality, 1) for row in asked.extra_controls))
    assert (not obstacles(asked, modalities, provider)) == possible
