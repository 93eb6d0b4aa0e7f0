"""A request to Scenario on its way to being settled: the family it is for, and what had to be said."""

from dataclasses import dataclass, field

from controlnet_mcp.providers.scenario.families import DEFAULT_MODEL, RULES, Family, Rules, family_of
from controlnet_mcp.providers.scenario.options import ScenarioOptions
from controlnet_mcp.providers.types import RequestWarning, ResolvedRequest


@dataclass(slots=True)
class Settling:
    """A request on its way to being settled, and what had to be said."""

    request: ResolvedRequest
    options: ScenarioOptions
    family: Family | None
    notices: list[RequestWarning] = field(default_factory=list[RequestWarning])

    @property
    def rules(self) -> Rules:
        """What the family accepts."""
        return RULES[self.family]

    def change(self, **values: object) -> None:
        """Replace values of the request."""
        self.request = self.request.model_copy(update=values)

    def adjusted(self, feature: str, detail: str) -> None:
        """Say that something is done otherwise than asked."""
        self.notices.append(RequestWarning(kind="adjusted", feature=feature, detail=detail))

    def assumed(self, feature: str, detail: str) -> None:
        """Say what was taken where nothing was said."""
        self.notices.append(RequestWarning(kind="assumed", feature=feature, detail=detail))

    def left_out(self, feature: str, detail: str) -> None:
        """Say that something cannot be honoured."""
        self.notices.append(RequestWarning(kind="unsupported", feature=feature, detail=detail))


def chosen_family(model: str | None, options: ScenarioOptions) -> Family | None:
    """The family that was said, or that the base model's or the model's id tells."""
    named = options.family or (family_of(options.base_model_id) if options.base_model_id else None)
    return named or family_of(model or DEFAULT_MODEL)
