"""Scenario's rules for controls: which modalities a family has, how many at once, their weights and their range."""

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.providers.scenario.families import LARGEST_WEIGHT, MODALITIES, RULES, Family, Rules
from controlnet_mcp.providers.scenario.settling import Settling
from controlnet_mcp.providers.types import Control


def settle_controls(settling: Settling) -> None:
    """Check the controls against the family of the model.

    Raises:
        RequestError: `unsupported` for a modality, preset or number of them that the family does not have,
            `invalid_request` for a weight of nothing.
    """
    _modalities(settling)
    _weights(settling)
    _control_range(settling)


def _modalities(settling: Settling) -> None:
    rules, preset = settling.rules, settling.options.preset
    if preset is not None:
        if preset not in rules.presets:
            known = ", ".join(rules.presets) or "none"
            raise RequestError(
                "unsupported", f"{rules.label} has no preset {preset}.", hint=f"Its presets: {known}; or use modality."
            )
        settling.adjusted("modality", f"The preset {preset} takes the place of {_names(settling.request.controls)}.")
        return
    controls = settling.request.controls
    missing = [
        row.modality for row in controls if settling.family and settling.family not in MODALITIES[row.modality].families
    ]
    if missing:
        raise _no_such_modality(missing[0], rules, settling.family)
    if len(controls) > rules.max_controls:
        raise RequestError(
            "unsupported",
            f"{rules.label} on Scenario takes at most {rules.max_controls} modality at once, not {len(controls)}.",
            hint=f"Use {controls[0].modality} alone, or an SDXL or SD 1.5 model, which take three.",
        )
    unmade = [row.modality for row in controls if not row.is_map and MODALITIES[row.modality].takes == "either"]
    if unmade and not rules.detects:
        settling.assumed("control_image", _used_as_map(unmade[0], rules))


def _names(controls: tuple[Control, ...]) -> str:
    return " and ".join(control.modality for control in controls)


def _no_such_modality(modality: str, rules: Rules, family: Family | None) -> RequestError:
    able = ", ".join(RULES[name].label for name in RULES if name in MODALITIES[modality].families)
    own = ", ".join(name for name, row in MODALITIES.items() if family in row.families)
    return RequestError(
        "unsupported",
        f"{rules.label} on Scenario has no {modality}.",
        hint=f"It has {own}. For {modality} choose a model of {able}.",
    )


def _used_as_map(modality: str, rules: Rules) -> str:
    return (
        f"{rules.label} on Scenario makes no maps: the picture is used as a ready {modality} map. Pass a map "
        "(extract_control_map makes some) or use an SDXL or SD 1.5 model, where the service makes it."
    )


def _weights(settling: Settling) -> None:
    controls = settling.request.controls
    nothing = next((control.modality for control in controls if control.weight <= 0), None)
    if nothing is not None:
        raise RequestError(
            "invalid_request",
            f"The weight of {nothing} must be above 0 on Scenario.",
            hint=f"Leave {nothing} out, or give it a weight above 0 and up to 1.",
        )
    heavy = [control.modality for control in controls if control.weight > LARGEST_WEIGHT]
    if heavy:
        settling.adjusted("weight", f"Scenario's weights end at 1; {' and '.join(heavy)} got 1.")
        lighter = tuple(row.model_copy(update={"weight": min(row.weight, LARGEST_WEIGHT)}) for row in controls)
        settling.change(controls=lighter)


def _control_range(settling: Settling) -> None:
    options = settling.options
    if settling.rules.ranges or (options.control_start is None and options.control_end is None):
        return
    feature = "provider_options.control_start and control_end"
    settling.left_out(
        feature, f"{settling.rules.label} on Scenario has no range of steps for the control; it was left out."
    )
    settling.options = options.model_copy(update={"control_start": None, "control_end": None})
