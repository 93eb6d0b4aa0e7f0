"""A language model by script, behind the HTTP interfaces of OpenAI (chat completions) and Google (generateContent).

It calls `controlnet_generate`, does what `next` says while the job is not finished, and then says that it is done.
Like the real services it refuses what it cannot read: tools that are not in its form, and answers of tools with a block
that its interface does not have.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Interface: TypeAlias = Literal["openai", "google"]
Arguments: TypeAlias = dict[str, JsonValue]
UNFINISHED = frozenset({"queued", "running"})


class _Told(BaseModel):
    """The part of a job that the script looks at."""

    job_id: str
    status: str
    next: str


_JOBS: TypeAdapter[_Told | list[JsonValue]] = TypeAdapter(_Told | list[JsonValue])


@dataclass(frozen=True, slots=True)
class Heard:
    """One request: the tools by name with their parameters, and the texts of the tools' answers so far."""

    interface: Interface
    tools: dict[str, JsonValue]
    answers: tuple[str, ...]


class _Block(BaseModel):
    """A block of a message, as chat completions has them; those of a tool's answer are texts."""

    type: Literal["text", "image_url"]
    text: str = ""


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Block] | None = None

    @property
    def text(self) -> str:
        """The text of the first block."""
        if isinstance(self.content, list):
            return next((block.text for block in self.content if block.type == "text"), "")
        return self.content or ""


class _Parameters(BaseModel):
    """Parameters of a function: a schema of an object."""

    model_config = ConfigDict(extra="allow")

    type: Literal["object", "OBJECT"]
    properties: dict[str, JsonValue]


class _Function(BaseModel):
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str = ""
    parameters: _Parameters


class _Tool(BaseModel):
    type: Literal["function"]
    function: _Function


class _ChatRequest(BaseModel):
    messages: list[_Message]
    tools: list[_Tool]


class _Declaration(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)

    name: str
    description: str = ""
    parameters: _Parameters | None = None
    parameters_json_schema: _Parameters | None = None
    response: JsonValue = None
    response_json_schema: JsonValue = None


class _Declarations(BaseModel):
    function_declarations: list[_Declaration] = Field(alias="functionDeclarations")


class _Result(BaseModel):
    response: JsonValue


class _Part(BaseModel):
    function_response: _Result | None = Field(default=None, alias="functionResponse")


class _Content(BaseModel):
    parts: list[_Part]


class _GenerateRequest(BaseModel):
    contents: list[_Content]
    tools: list[_Declarations]


def _texts(value: JsonValue) -> list[str]:
    """All texts under the name `text` in a tool's answer, and the answer itself where it is one."""
    match value:
        case {"text": str(text)}:
            return [text]
        case dict():
            return [text for row in value.values() for text in _texts(row)]
        case list():
            return [text for row in value for text in _texts(row)]
        case str():
            return [value]
        case _:
            return []


@dataclass(slots=True)
class ScriptedModel:
    """The service.

    Attributes:
        arguments: Those of its call of `controlnet_generate`.
        heard: The requests.
        refused: The requests that it could not read, in words.
    """

    arguments: Arguments
    heard: list[Heard] = field(default_factory=list[Heard])
    refused: list[str] = field(default_factory=list[str])

    def app(self) -> Starlette:
        """Both interfaces."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/{version}/models/{model}:generateContent", self._generate, methods=["POST"]),
            ]
        )

    def _next(self, answers: Sequence[str]) -> tuple[str, Arguments] | None:
        """The next call; nothing when the last answer is a job that has ended."""
        if not answers:
            return "controlnet_generate", self.arguments
        job = _JOBS.validate_json(answers[-1])
        if isinstance(job, list):  # some send all that they were given, as texts or read already
            job = _Told.model_validate_json(job[0]) if isinstance(job[0], str) else _Told.model_validate(job[0])
        if job.status not in UNFINISHED:
            return None
        advised = re.search(r"wait_seconds=(\d+)", job.next)
        return "job_status", {"job_id": job.job_id, "wait_seconds": int(advised[1]) if advised else 2}

    async def _chat(self, request: Request) -> Response:
        try:
            asked = _ChatRequest.model_validate_json(await request.body())
            answers = [message.text for message in asked.messages if message.role == "tool"]
            call = self._next(answers)
        except ValidationError as error:
            return self._refuse(str(error))
        tools: dict[str, JsonValue] = {row.function.name: row.function.parameters.model_dump() for row in asked.tools}
        self.heard.append(Heard("openai", tools, tuple(answers)))
        message: dict[str, JsonValue] = {"role": "assistant", "content": None if call else "done"}
        if call:
            function: dict[str, JsonValue] = {"name": call[0], "arguments": json.dumps(call[1])}
            message["tool_calls"] = [{"id": f"call_{len(answers)}", "type": "function", "function": function}]
        choice: dict[str, JsonValue] = {
            "index": 0,
            "message": message,
            "finish_reason": "tool_calls" if call else "stop",
            "logprobs": None,
        }
        usage: dict[str, JsonValue] = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body: dict[str, JsonValue] = {"id": "chat-1", "object": "chat.completion", "created": 1, "model": "scripted"}
        return JSONResponse({**body, "choices": [choice], "usage": usage})

    async def _generate(self, request: Request) -> Response:
        try:
            asked = _GenerateRequest.model_validate_json(await request.body())
            results = [part.function_response for content in asked.contents for part in content.parts]
            answers = [_texts(result.response)[0] for result in results if result]
            call = self._next(answers)
        except (ValidationError, IndexError) as error:
            return self._refuse(str(error))
        rows = [row for group in asked.tools for row in group.function_declarations]
        parameters = {row.name: row.parameters or row.parameters_json_schema for row in rows}
        tools: dict[str, JsonValue] = {name: row.model_dump() if row else None for name, row in parameters.items()}
        self.heard.append(Heard("google", tools, tuple(answers)))
        part: dict[str, JsonValue] = {"functionCall": {"name": call[0], "args": call[1]}} if call else {"text": "done"}
        content: dict[str, JsonValue] = {"role": "model", "parts": [part]}
        return JSONResponse({"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]})

    def _refuse(self, why: str) -> Response:
        self.refused.append(why)
        return JSONResponse({"error": {"message": why, "code": 400, "status": "INVALID_ARGUMENT"}}, 400)
