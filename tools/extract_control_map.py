"""`extract_control_map`: the control map of a picture, free of charge, as a picture to look at and to pass on."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from anyio import to_thread
from pydantic import Field, JsonValue, field_validator

from controlnet_mcp.foundation.arguments import Arguments, checked, passing, shorter_side
from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.limits import RESULT_LIMITS
from controlnet_mcp.images.maps import MapParameters
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.resize import fit_for_detection
from controlnet_mcp.jobs.request import ModalityText, PictureName, RequestedModality, parse_one, reading_notes
from controlnet_mcp.jobs.resource_uris import map_uri
from controlnet_mcp.tools.tool import Answer, Call, Hints, Services, Shown, tool, with_roots
from controlnet_mcp.tools.views import View

_FINE_PIXELS = 1536
"""Shorter side of a map above which lines of one pixel do not survive being scaled to what image models draw."""
_FADES = (
    "Image models draw at about 1024 px, and fine lines fade when a larger map is scaled down: resolution=1024 makes "
    "the map at that size."
)
_NEXT = "Look at it; then call controlnet_generate with this uri as control_image"
_BLANK = "The map is blank and would keep nothing: try another modality, other parameters or a picture with more on it."


def _parse(modality: str) -> RequestedModality:
    return parse_one(modality, "Make the map of each in a call of its own.")


class ExtractArguments(Arguments):
    """Of which picture, and which map."""

    image: PictureName = Field(min_length=1, description="As control_image")
    modality: ModalityText = Field(default="canny", description="From list_modalities")
    resolution: int | None = Field(default=None, ge=64, le=4096, description="Short side in pixels")
    parameters: dict[str, JsonValue] = Field(
        default={},
        description="Its knobs, named by list_modalities; canny: thresholds=auto",
    )
    previews: bool = True

    _modality = field_validator("modality")(passing(_parse))
    _resolution = field_validator("resolution", mode="before")(shorter_side)

    @classmethod
    def faults(cls, given: Mapping[str, object], context: object) -> list[RequestError]:  # noqa: ARG003  # as in all
        """Knobs that no map has."""
        parameters = given.get("parameters", {})
        try:
            checked(MapParameters, cast("dict[str, object]", parameters) if isinstance(parameters, dict) else {})
        except RequestError as error:
            return [error]
        return []


class MapView(View):
    """A control map; pass `uri` as control_image with control_is_map=true. `coverage` is the lit fraction, 0 to 1."""

    uri: str
    modality: str
    width: int
    height: int
    coverage: float
    path: Path | None = None
    parameters: dict[str, float | int | str]
    notes: tuple[str, ...] | None = None
    next: str


async def extract(services: Services, arguments: ExtractArguments, call: Call) -> Answer:
    """Read the picture, make its map, store it, answer."""
    asked, parameters = _parse(arguments.modality), checked(MapParameters, arguments.parameters)
    modality = asked.modality
    caller, blobs = await with_roots(services, call, [arguments.image]), services.blobs
    source = await services.reader.read(
        arguments.image, local_paths=caller.local, owner=caller.principal, roots=caller.roots, use=asked.use
    )

    def make() -> tuple[StoredPicture, MapView]:
        from controlnet_mcp.images.classify import is_blank
        from controlnet_mcp.images.maps.recipes import make_map

        pixels = blobs.pixels(source.picture.sha256, RESULT_LIMITS)
        if arguments.resolution:
            pixels = fit_for_detection(pixels, arguments.resolution)
        made = make_map(pixels, modality.name, parameters, services.map_models)
        picture = blobs.put_pixels(made.rgb)
        fine = modality.structure in {"lines", "skeleton"} and min(picture.width, picture.height) > _FINE_PIXELS
        fades = (_FADES,) if fine and not arguments.resolution else ()
        is_map = "" if modality.structure == "photo" else " and control_is_map=true"
        read = tuple(note.detail for note in reading_notes((asked,)))
        return picture, MapView(
            uri=map_uri(picture.sha256),
            modality=modality.name,
            width=picture.width,
            height=picture.height,
            coverage=round(made.coverage, 4),
            path=blobs.path(picture.sha256) if caller.local else None,
            parameters=made.parameters,
            notes=(*read, *source.notes, *made.notes, *fades) or None,
            next=_BLANK if is_blank(made.rgb) else f"{_NEXT}{is_map}.",
        )

    picture, view = await to_thread.run_sync(make)
    await services.jobs.hold_map(picture.sha256, caller)
    shown = Shown(view.uri, f"{modality.name}-map", picture)
    return Answer(view, (shown,), previews=arguments.previews and services.previews)


EXTRACT_CONTROL_MAP = tool(
    name="extract_control_map",
    title="Make a control map",
    description="A picture's control map, made here for free, to check before paying.",
    arguments=ExtractArguments,
    hints=Hints(read_only=True, idempotent=True),
    handler=extract,
)
