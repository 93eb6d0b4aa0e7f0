"""Reading the modality string: names, aliases, weights."""

from dataclasses import dataclass

from controlnet_mcp.images.errors import RequestError
from controlnet_mcp.images.modalities import Modality, resolve

MAX_WEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class Ask:
    """One modality that was asked for, with its conditioning scale (0 to 2)."""

    modality: Modality
    weight: float


def parse_modalities(text: str) -> tuple[Ask, ...]:
    """Read `canny`, `pose:0.5` or `canny:0.6,depth:0.4`.

    Raises:
        RequestError: `invalid_request` for an unknown name, a weight that is no number from 0 to 2, an empty part or
            a name that is given twice.
    """
    asks = tuple(_ask(part) for part in text.split(","))
    names = [ask.modality.name for ask in asks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise RequestError("invalid_request", f"The modality {twice!r} is given twice.", hint="Name each one once.")
    return asks


def parse_extra(modality: str, weight: float) -> Ask:
    """Read the modality of an extra control, which has one; a weight after its name counts where none is given.

    Raises:
        RequestError: As `parse_modalities`, and for several modalities.
    """
    ask, *others = parse_modalities(modality)
    if others:
        raise RequestError(
            "invalid_request",
            "An entry of extra_controls has one modality, not several.",
            hint="Give each further modality an entry of its own.",
        )
    return ask if weight == 1 else Ask(ask.modality, weight)


def _ask(part: str) -> Ask:
    name, colon, weight = part.partition(":")
    modality = resolve(name)
    return Ask(modality, _weight(weight, modality.name) if colon else 1.0)


def _weight(text: str, name: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 <= weight <= MAX_WEIGHT:
        raise RequestError(
            "invalid_request",
            f"The weight {text.strip()[:20]!r} of {name} is not a number from 0 to {MAX_WEIGHT:g}.",
            hint=f"Write it like {name}:0.8, or leave it out for 1.",
        )
    return weight
