"""The commands that make pictures: `generate` and `control-map`."""

from pathlib import Path

import click

from controlnet_mcp.server.cli import interruptible
from controlnet_mcp.server.cli.local_paths import file_meant, with_own_files
from controlnet_mcp.server.cli.options import arguments_of, tool_options
from controlnet_mcp.server.cli.output import interruption_note, place_for, save, show_job
from controlnet_mcp.server.cli.session import allow, ask, call, load_settings, run, told, wait_for
from controlnet_mcp.server.mcp.rendering import text_of
from controlnet_mcp.tools.controlnet_generate import CONTROLNET_GENERATE, DryRun
from controlnet_mcp.tools.extract_control_map import EXTRACT_CONTROL_MAP, MapView
from controlnet_mcp.tools.tool import Services
from controlnet_mcp.tools.views import Job

_TEXTS = {
    "extra_controls": "A further control: MODALITY:WEIGHT=IMAGE, or JSON with start, end, is_map (repeatable)",
    "control_is_map": "IMAGE already is a control map: do not preprocess it",
    "negative_prompt": "What to leave out of the picture",
    "height": "Pixels",
    "num_images": "How many pictures",
    "steps": "Denoising steps",
    "guidance": "How closely to follow the prompt (classifier-free guidance scale)",
    "scheduler": "From list_models",
    "seed": "The same seed gives the same picture, where the provider has seeds",
    "provider_options": "One of the provider's own knobs (repeatable; see list_models)",
    "like_job": "Repeat this job: PROMPT, IMAGE and all that is not given are as they were, pictures and seed too",
    "wait_seconds": "How many seconds to wait for the end",
    "dry_run": "Submit nothing, show the request, the price and the warnings",
    "request_key": "The same key gives the same job instead of a new one",
}
_MAP_TEXTS = {
    "parameters": "One of the map's knobs (repeatable): low_threshold, sigma_pixels, factor, invert, seed and others"
}


@click.command()
@click.argument("prompt", required=False)
@click.argument("control_image", metavar="IMAGE", required=False)
@tool_options(CONTROLNET_GENERATE, _TEXTS, positional=("prompt", "control_image"))
@click.option("-o", "--output", metavar="PATH", help="File or folder for the pictures.")
@click.option("--sidecar", is_flag=True, help="Save how each picture was made in a .json file beside it.")
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON; copy pictures only to --output.")
def generate(output: str | None, *, sidecar: bool, as_json: bool, **values: object) -> None:
    """Draw a new picture that keeps the structure of IMAGE (a path, an https URL or a controlnet:// URI).

    Waits for the end, saves the pictures under readable new names and prints their paths. Ctrl-C ends the waiting,
    not the job. With --like JOB neither PROMPT nor IMAGE is needed; an empty PROMPT ("") stands for the earlier one.
    """
    values["prompt"] = values["prompt"] or None
    missing = [word for name, word in (("prompt", "PROMPT"), ("control_image", "IMAGE")) if values[name] is None]
    if missing and values["like_job"] is None:
        raise click.UsageError(f"Missing {' and '.join(missing)}, or --like with the job to repeat.")
    settings = load_settings()
    with told():
        arguments, folders = with_own_files(arguments_of(CONTROLNET_GENERATE, values))
    wait_seconds = values.pop("wait_seconds")
    patience_seconds = settings.job_timeout_seconds if wait_seconds is None else float(str(wait_seconds))
    job_id: str | None = None

    async def submit(services: Services) -> Job | DryRun:
        """Submit, tell the job's id, and only then wait."""
        nonlocal job_id
        answer = await call(services, CONTROLNET_GENERATE, arguments | {"wait_seconds": 0})
        if not isinstance(answer.body, Job):
            return DryRun.model_validate(answer.body)
        job_id = answer.body.job_id
        click.echo(f"{job_id} goes to {answer.body.provider}", err=True)
        await services.jobs.store.mark_delivered(job_id)  # from here on the same command means a new picture
        return await wait_for(services, answer.body, patience_seconds)

    with interruptible(lambda: interruption_note(job_id)):
        body = run(submit, allow(settings, folders))
    if isinstance(body, DryRun):
        click.echo(text_of(body) if as_json else body.model_dump_json(by_alias=True, indent=2))
    else:
        show_job(body, output, as_json=as_json, copies=not as_json, sidecars=sidecar)


@click.command()
@click.argument("image")
@tool_options(EXTRACT_CONTROL_MAP, _MAP_TEXTS, positional=("image",))
@click.option("-o", "--output", metavar="PATH", help="File or folder for the map.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON; copy the map only to --output.")
def control_map(output: str | None, *, as_json: bool, **values: object) -> None:
    """Make the control map of IMAGE (a path, an https URL or a controlnet:// URI) and print where it was saved."""
    arguments = arguments_of(EXTRACT_CONTROL_MAP, values)
    made = MapView.model_validate(ask(EXTRACT_CONTROL_MAP, arguments).body)
    saved: Path | None = None
    if made.path and (output or not as_json):
        source = file_meant(str(values["image"]))
        name = f"{source.stem if source else 'picture'}-{made.modality}"
        saved = save(made.path.read_bytes(), place_for(output, name, "image/png"), kept=made.path)
    if as_json:
        click.echo(text_of(made))
        return
    click.echo(f"{made.modality}, {made.width}x{made.height}, {made.coverage:.1%} lit", err=True)
    for note in made.notes or ():
        click.echo(f"note: {note}", err=True)
    click.echo(saved)
