"""`extract_control_map`: the control map of a picture, free of charge, as a picture to look at and to pass on."""

from functools import partial
from pathlib import Path

from anyio import to_thread
from pydantic import Field, JsonValue

from controlnet_mcp.images.blobs import BlobStore
from controlnet_mcp.images.maps import MapParameters
from controlnet_mcp.images.modalities import resolve
from controlnet_mcp.images.pictures import StoredPicture
from controlnet_mcp.jobs.addresses import map_uri
from controlnet_mcp.providers.runner import RESULT_LIMITS
from controlnet_mcp.tools.checking import checked
from controlnet_mcp.tools.spec import Answer, Arguments, Call, Hints, Services, Shown, ToolSpec
from controlnet_mcp.tools.views import View


class ExtractArguments(Arguments):
    """Of which picture, and which map."""

    image: str = Field(min_length=1, description="As control_image")
    modality: str = Field(default="canny", description="From list_modalities")
    resolution: int | None = Field(default=None, ge=64, le=4096, description="Short side in pixels")
    parameters: dict[str, JsonValue] = Field(
        default={},
        description="Its knobs: low_threshold, high_threshold, sigma_pixels, factor, invert, seed",
    )
    previews: bool = True


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
    modality = resolve(arguments.modality).name
    parameters = checked(MapParameters, arguments.parameters)
    source = await services.reader.read(arguments.image, local_paths=call.caller.local, owner=call.caller.principal)
    picture, view = await to_thread.run_sync(
        partial(_make, source, modality, arguments.resolution, parameters, services.blobs)
    )
    await services.desk.hold_map(picture.sha256, call.caller)
    if not call.caller.local:
        view = view.model_copy(update={"path": None})
    shown = Shown(view.uri, f"{modality}-map", picture)
    return Answer(view, (shown,), previews=arguments.previews and services.previews)


def _make(
    source: StoredPicture, modality: str, resolution: int | None, parameters: MapParameters, blobs: BlobStore
) -> tuple[StoredPicture, MapView]:
    from controlnet_mcp.images.decode import decode
    from controlnet_mcp.images.frame import store_pixels
    from controlnet_mcp.images.maps import fit_for_detection, make_map

    pixels = decode(blobs.get(source.sha256), RESULT_LIMITS)
    if resolution:
        pixels = fit_for_detection(pixels, resolution)
    made = make_map(pixels, modality, parameters)
    picture = store_pixels(made.rgb, blobs)
    view = MapView(
        uri=map_uri(picture.sha256),
        modality=modality,
        width=picture.width,
        height=picture.height,
        coverage=round(made.coverage, 4),
        path=blobs.path(picture.sha256),
        parameters=made.parameters,
        notes=made.notes or None,
        next="Look at it; then call controlnet_generate with this uri as control_image and control_is_map=true.",
    )
    return picture, view


TOOL = ToolSpec(
    name="extract_control_map",
    title="Make a control map",
    description="The control map of a picture, made here for free, to check before paying.",
    arguments=ExtractArguments,
    hints=Hints(read_only=True, idempotent=True),
    handler=extract,
)
