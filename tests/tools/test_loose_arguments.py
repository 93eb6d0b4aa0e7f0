"""Arguments as hosts and models really send them: what says nothing, other words, units, and all faults at once."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from controlnet_mcp.foundation.arguments import loosened, says_nothing
from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.tools.controlnet_generate import GenerateArguments
from controlnet_mcp.tools.list_modalities import ModalityList
from controlnet_mcp.tools.list_models import ModelList
from tests.support.mcp_session import SIDE, Reply, Session, open_session, settings_for

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

NOTHING = ["", " ", "\n", "null", "None", "NULL", "undefined", "nil", "N/A", "unset", '""', "<null>", "(none)"]
OPTIONAL = [name for name in GenerateArguments.model_fields if name not in {"prompt", "control_image"}]


NOBODY_S_KEYS = {
    **dict.fromkeys(("SCENARIO_API_KEY", "SCENARIO_API_SECRET", "MODELSLAB_API_KEY"), "k" * 20),
    **dict.fromkeys(("SCENARIO_BASE_URL", "MODELSLAB_BASE_URL"), "http://127.0.0.1:9"),
}
"""Keys of providers that nobody answers for."""


def planned(reply: Reply) -> dict[str, JsonValue]:
    """The body that a dry run shows."""
    assert not reply.result.is_error, reply.text
    body: dict[str, JsonValue] = json.loads(reply.text)["request"]["json"]
    return body


async def plan(session: Session, **arguments: JsonValue) -> dict[str, JsonValue]:
    """A dry run on the draft engine, whose body names all that was asked for."""
    return planned(await session.generate(**{"dry_run": True, "seed": 5, **arguments}))


@pytest.mark.parametrize("nothing", NOTHING)
async def test_what_says_nothing_is_not_given(session: Session, nothing: str) -> None:
    """C1: an empty text, or a word for nothing, in every optional argument at once is the call without them."""
    usual = {"seed": 5, "width": SIDE, "height": SIDE, "dry_run": True, "wait_seconds": 0}
    filled: dict[str, JsonValue] = {**dict.fromkeys(OPTIONAL, nothing), **usual}
    assert planned(await session.generate(**filled)) == await plan(session)


@pytest.mark.parametrize("nothing", ["", "null", [], {}])
async def test_lists_and_objects_that_are_empty_are_not_given(session: Session, nothing: JsonValue) -> None:
    """C1: also an entry of extra_controls that only fills its place, and an option without a value."""
    usual = await plan(session)
    assert await plan(session, extra_controls=nothing, provider_options=nothing) == usual
    assert await plan(session, extra_controls=[nothing, {"modality": "", "image": "", "weight": 0}]) == usual
    assert await plan(session, provider="draft", provider_options={"simulate": nothing}) == usual


@pytest.mark.parametrize("nothing", ["null", "None", "undefined"])
async def test_a_word_for_nothing_is_no_picture(session: Session, nothing: str) -> None:
    """C1: what a call cannot do without is missing then, and is not looked for as a file."""
    assert "'control_image' is missing" in (await session.generate(control_image=nothing)).error.message
    assert "'image' is missing" in (await session.call("extract_control_map", image=nothing)).error.message


async def test_a_prompt_may_be_a_word_for_nothing_and_a_negative_prompt_may_not(session: Session) -> None:
    """C1: the prompt is what somebody wants drawn, but no model may be told to avoid "None"."""
    body = await plan(session, prompt="None", negative_prompt="None")
    assert (body["prompt"], body["negative_prompt"]) == ("None", "")
    assert (await plan(session, negative_prompt="none of the neon"))["negative_prompt"] == "none of the neon"


@pytest.mark.parametrize("tool", ["list_jobs", "list_modalities", "list_models", "extract_control_map", "job_status"])
@pytest.mark.parametrize("nothing", ["", "null", "None"])
async def test_every_other_tool_takes_what_says_nothing(session: Session, tool: str, nothing: str) -> None:
    """C1: their optional arguments, too; H7: a strict host sends `cursor` and `provider` with nothing in them."""
    job = (await session.generate()).job
    photo = str(session.pictures / "photo.png")
    needed: dict[str, dict[str, JsonValue]] = {"job_status": {"job_id": job.job_id}}
    needed["extract_control_map"] = {"image": photo}
    (listed,) = [row for row in (await session.client.list_tools()).tools if row.name == tool]
    names = listed.input_schema["properties"]
    for filler in (nothing, None):
        reply = await session.call(tool, **{**dict.fromkeys(names, filler), **needed.get(tool, {})})
        assert not reply.result.is_error, reply.text


@pytest.mark.parametrize("provider", ["auto", "AUTO", "any", "all", "*", "default", "", None])
async def test_auto_is_no_provider_in_the_lists(session: Session, provider: str | None) -> None:
    """H8: list_jobs and list_modalities show all, list_models the first that is ready, and says so."""
    job = (await session.generate()).job
    assert [row.job_id for row in (await session.call("list_jobs", provider=provider)).listed] == [job.job_id]
    found = ModalityList.model_validate_json((await session.call("list_modalities", provider=provider)).text)
    assert len(found.providers) > 3
    models = ModelList.model_validate_json((await session.call("list_models", provider=provider)).text)
    assert models.provider == "draft"
    assert "draft" in (models.note or "")


@pytest.mark.parametrize("provider", ["AUTO", "Draft", " draft ", "DRAFT", "Auto", "any", ["draft"]])
async def test_a_provider_is_named_in_any_case(session: Session, provider: JsonValue) -> None:
    """C1: enum-like names need no exact case, and a list of one is that one."""
    assert (await session.generate(provider=provider, wait_seconds=0)).job.provider == "draft"
    assert [row.provider for row in (await session.call("list_jobs", provider=provider)).listed] == ["draft"]


@pytest.mark.parametrize("name", ["fal.ai", "fal-ai", "ModelsLab", "models lab", "WaveSpeed AI", "zhiqite.com"])
async def test_a_provider_is_known_by_its_web_address(session: Session, name: str) -> None:
    """C1: the refusal is about its key, not about its name."""
    assert (await session.generate(provider=name)).error.code == "not_configured"


@pytest.mark.parametrize("seed", [-1, "-1", -1.0, "random", "Random", "rand"])
async def test_a_random_seed_is_drawn(session: Session, seed: JsonValue) -> None:
    """C1: -1 and "random" mean a random seed; in the repetition of a job a new one."""
    made = (await session.generate(seed=seed)).job
    assert made.seed is not None
    assert made.seed >= 0
    again = await session.call("controlnet_generate", like_job=made.job_id, seed=seed, wait_seconds=0)
    assert again.job.seed != made.seed
    same = await session.call("controlnet_generate", like_job=made.job_id, seed="", wait_seconds=0)
    assert same.job.seed == made.seed


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        ("512px", "384 px", (512, 384)),
        ("512 pixels", "384PX", (512, 384)),
        ("512x384", None, (512, 384)),
        (None, "512 x 384", (512, 384)),
        ("512\u00d7384", "512\u00d7384", (512, 384)),
        ("512*384px", "", (512, 384)),
        ("512 by 384", None, (512, 384)),
        ("512x384", 256, (512, 256)),
        ("1,024", "1024.0", (1024, 1024)),
        ('"512"', "384", (512, 384)),
    ],
)
async def test_sizes_are_read_with_their_units(
    session: Session, width: JsonValue, height: JsonValue, size: tuple[int, int]
) -> None:
    """C1: "512px", and "1024x768" in the place of either side."""
    body = await plan(session, width=width, height=height)
    assert (body["width"], body["height"]) == size


@pytest.mark.parametrize("resolution", ["128px", "128 px", "256x128", "128x256", "128 pixels"])
async def test_the_size_of_a_map_is_read_with_its_unit(session: Session, resolution: str) -> None:
    """C1: of a size, the shorter side counts."""
    photo = str(session.pictures / "photo.png")
    made = json.loads((await session.call("extract_control_map", image=photo, resolution=resolution)).text)
    assert min(made["width"], made["height"]) == 128


async def test_other_numbers_are_read_as_they_are_meant(session: Session) -> None:
    """C1: a percent sign, a decimal comma, seconds, a word for the default."""
    photo = str(session.pictures / "photo.png")
    body = await plan(session, init_image=photo, strength="60%", wait_seconds="30 s", steps="auto", guidance="default")
    assert body["strength"] == 0.6
    assert (await plan(session, init_image=photo, strength="0,25"))["strength"] == 0.25


@pytest.mark.parametrize(
    ("word", "found"),
    [
        *(("completed", 1), ("DONE", 1), ("Finished", 1), ("success", 1), ("Succeeded", 1), ("all", 1), ("any", 1)),
        *(("error", 0), ("cancelled", 0), ("pending", 0), ("in progress", 0), ("in_progress", 0), ("PROCESSING", 0)),
    ],
)
async def test_other_words_for_a_status_are_understood(session: Session, word: str, found: int) -> None:
    """C1: as other services call it, in any case."""
    await session.generate()
    assert len((await session.call("list_jobs", status=word)).listed) == found


async def test_words_of_a_closed_set_need_no_exact_case(session: Session) -> None:
    """C1: knobs of maps and options of providers; true and false are yes and no."""
    photo = str(session.pictures / "photo.png")
    for invert in ("YES", "yes", True):
        knobs: dict[str, JsonValue] = {"invert": invert}
        made = await session.call("extract_control_map", image=photo, modality="scribble", parameters=knobs)
        assert json.loads(made.text)["parameters"]["invert"] == "yes"
    body = await plan(session, provider="draft", provider_options={"simulate": "Queued"})
    assert body["simulate"] == "queued"


async def test_all_faults_of_a_call_are_told_in_one_answer(session: Session) -> None:
    """C1: each by its argument, with what is right."""
    wrong: dict[str, JsonValue] = {
        "promt": "a cat",
        "prompt": None,
        "modality": "cany",
        "width": "wide",
        "height": 5,
        "seed": -7,
        "provider": "scenrio",
        "num_images": 9,
        "strength": 3,
        "mask_image": "mask.png",
        "extra_controls": [{"modality": "depth", "image": "a.png", "wight": 1}],
        "dry_run": "perhaps",
    }
    error = (await session.generate(**wrong)).error
    assert error.code == "invalid_request"
    named = ["promt", "'prompt' is missing", "cany", "width", "height", "seed", "scenrio", "num_images", "strength"]
    for part in (*named, "mask_image", "extra_controls.0.wight", "dry_run"):
        assert part in error.message, part
    for part in ("Did you mean prompt", "Did you mean canny", "Did you mean scenario", "weight"):
        assert part in error.hint, part
    assert len(f"{error.message} {error.hint}") < 4000
    assert error.message.count(". ") == 0, "one sentence"


async def test_faults_inside_options_are_told_beside_the_others(session: Session) -> None:
    """C1: knobs of the named provider, and of a map."""
    options: dict[str, JsonValue] = {"simulat": "queued", "seconds": -1}
    error = (await session.generate(provider="draft", provider_options=options, width="wide")).error
    for part in ("width", "provider_options.simulat", "provider_options.seconds"):
        assert part in error.message
    knobs: dict[str, JsonValue] = {"low_threshold": 0, "lowthreshold": 5}
    error = (await session.call("extract_control_map", image="a.png", modality="cany", parameters=knobs)).error
    for part in ("3 faults", "cany", "low_threshold", "lowthreshold"):
        assert part in error.message
    assert error.message.count("faults") == 1


async def test_all_pictures_that_cannot_be_read_are_told_in_one_answer(session: Session) -> None:
    """C1: each by its argument, with the code of the first."""
    names = {name: str(session.pictures / f"no-{name}.png") for name in ("control_image", "init_image", "mask_image")}
    extra: JsonValue = [{"modality": "depth", "image": str(session.pictures / "none-such.png")}]
    error = (await session.generate(**names, extra_controls=extra)).error
    assert error.code == "image_unreadable"
    for part in (*names, "extra_control_0", "no-init_image.png", "none-such.png"):
        assert part in error.message
    one = (await session.generate(init_image=names["init_image"])).error
    assert "pictures cannot be read" not in one.message


async def test_many_faults_are_bounded(session: Session) -> None:
    """C1: a thousand unknown arguments with long names make no long answer."""
    wrong: dict[str, JsonValue] = {f"{number}{'x' * 300}": "y" * 3000 for number in range(1000)}
    error = (await session.generate(**wrong)).error
    assert "1000 faults" in error.message
    assert len(f"{error.message} {error.hint}") < 4000


@pytest.mark.parametrize("filler", ["", "null"])
async def test_a_strict_host_takes_nothing_out_of_a_repeated_job(session: Session, filler: str) -> None:
    """H7: it fills in every argument; alone, an empty text takes out what the earlier job had."""
    first = (await session.generate(negative_prompt="fog", seed=5)).job
    names: list[str] = [*OPTIONAL, "prompt", "control_image"]
    filled: dict[str, JsonValue] = {**dict.fromkeys(names, filler), "like_job": first.job_id, "dry_run": True}
    assert planned(await session.call("controlnet_generate", **filled))["negative_prompt"] == "fog"
    alone: dict[str, JsonValue] = {"like_job": first.job_id, "negative_prompt": "", "dry_run": True}
    assert planned(await session.call("controlnet_generate", **alone))["negative_prompt"] == ""


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"strength": 0.5}, "init_image"),
        ({"mask_image": "photo.png"}, "init_image"),
        ({"modality": "inpaint"}, "mask_image"),
        ({"scheduler": "nonsense"}, "scheduler"),
    ],
)
async def test_a_fault_of_the_call_is_no_reason_for_another_provider(
    tmp_path: Path, pictures: Path, given: dict[str, JsonValue], named: str
) -> None:
    """C1: `auto` stops at what no provider could make right, such as a strength without a start picture."""
    async with open_session(settings_for(tmp_path / "data", pictures, keys=NOBODY_S_KEYS)) as session:
        for provider in ("auto", "modelslab"):
            error = (await session.generate(provider=provider, **given)).error
            assert error.code == "invalid_request"
            assert named in f"{error.message} {error.hint}"


async def test_options_of_one_provider_are_not_refused_by_another(tmp_path: Path, pictures: Path) -> None:
    """C1: where the first candidate of `auto` cannot do what its own options ask for, its refusal is told."""
    options: dict[str, JsonValue] = {"preset": "city", "family": "SDXL"}
    async with open_session(settings_for(tmp_path / "data", pictures, keys=NOBODY_S_KEYS)) as session:
        error = (await session.generate(provider_options=options)).error
    assert error.code == "unsupported"
    assert "preset city" in error.message


TEXTS = st.text(max_size=12) | st.sampled_from(NOTHING)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*GenerateArguments.model_fields, "promt"]), JSON, max_size=6))
def test_any_arguments_are_read_or_refused(arguments: dict[str, JsonValue]) -> None:
    """C1: nothing else is raised, and what says nothing is never left in an optional argument."""
    try:
        read = loosened(GenerateArguments, arguments)
        assert not any(says_nothing(value) for name, value in read.items() if name in GenerateArguments.model_fields)
        GenerateArguments.model_validate(read)
    except (RequestError, ValueError):
        pass
