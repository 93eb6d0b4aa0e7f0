"""One program for each client library: its tools in its own form, a picture drawn with `draft`, and read back.

`python programs.py NAME` runs in an environment that has the library and nothing of this project. The server's
whereabouts and the model's come as JSON on stdin (`Place`); what the library made of our answers goes as JSON to
stdout. Where a library calls tools for a model, the scripted one of `scripted_model.py` is asked over HTTP; else the
program calls them itself, as such a model would.
"""

import base64
import hashlib
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import anyio

Call = Callable[[str, dict[str, object]], Awaitable[str]]
"""Calls a tool, and gives the text of the first block."""
Read = Callable[[str], Awaitable[bytes]]
"""Reads a resource."""
Seen = dict[str, object]


@dataclass(frozen=True)
class Place:
    """The server and the model.

    Attributes:
        transport: `stdio`, `http` or `sse`.
        command: The server's command for stdio.
        env: Its environment.
        url: Where it listens, for the others.
        model: Where the scripted model listens.
        arguments: The arguments of the generation.
    """

    transport: str
    command: list[str]
    env: dict[str, str]
    url: str
    model: str
    arguments: dict[str, object]


async def draw(place: Place, call: Call) -> dict[str, object]:
    """Draw a picture as a model would: call, and look at the job until it has ended."""
    job = json.loads(await call("controlnet_generate", place.arguments))
    while job["status"] in {"queued", "running"}:
        job = json.loads(await call("job_status", {"job_id": job["job_id"], "wait_seconds": 2}))
    return job


async def seen(tools: Sequence[str], job: dict[str, object] | str, read: Read | None) -> Seen:
    """The facts that the test looks at: names of tools, the end of the job, and whether its picture is right."""
    job = json.loads(job) if isinstance(job, str) else job
    same = None
    if read is not None:
        image = job["images"][0]
        same = hashlib.sha256(await read(image["uri"])).hexdigest() == image["sha256"]
    return {"tools": sorted(tools), "status": job["status"], "same": same}


async def handshake_streams(place: Place, stack: AsyncExitStack) -> tuple[object, object]:
    """The two ends of a connection of the SDK's first major version."""
    from mcp import StdioServerParameters
    from mcp.client.sse import sse_client
    from mcp.client.stdio import stdio_client
    from mcp.client.streamable_http import streamablehttp_client

    if place.transport == "stdio":
        server = StdioServerParameters(command=place.command[0], args=place.command[1:], env=place.env)
        opened = stdio_client(server)
    else:
        opened = sse_client(place.url) if place.transport == "sse" else streamablehttp_client(place.url)
    return (await stack.enter_async_context(opened))[:2]


async def mcp_1(place: Place) -> Seen:
    """The protocol's own SDK, first major version: the handshake revisions."""
    from mcp import ClientSession

    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(ClientSession(*await handshake_streams(place, stack)))
        await session.initialize()

        async def call(name: str, arguments: dict[str, object]) -> str:
            return (await session.call_tool(name, arguments)).content[0].text

        async def read(uri: str) -> bytes:
            return base64.b64decode((await session.read_resource(uri)).contents[0].blob)

        tools = [tool.name for tool in (await session.list_tools()).tools]
        return await seen(tools, await draw(place, call), read)


async def mcp_2(place: Place) -> Seen:
    """The protocol's own SDK, second major version: the current revision."""
    from mcp.client.client import Client
    from mcp.client.sse import sse_client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    server = StdioServerParameters(command=place.command[0], args=place.command[1:], env=place.env)
    target = {"stdio": lambda: stdio_client(server), "sse": lambda: sse_client(place.url), "http": lambda: place.url}
    async with Client(target[place.transport]()) as client:

        async def call(name: str, arguments: dict[str, object]) -> str:
            return (await client.call_tool(name, arguments)).content[0].text

        async def read(uri: str) -> bytes:
            return base64.b64decode((await client.read_resource(uri)).contents[0].blob)

        tools = [tool.name for tool in (await client.list_tools()).tools]
        return await seen(tools, await draw(place, call), read)


def fastmcp_transport(place: Place) -> object:
    """A transport of fastmcp."""
    from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport

    if place.transport == "stdio":
        return StdioTransport(place.command[0], place.command[1:], env=place.env, keep_alive=False)
    return SSETransport(place.url) if place.transport == "sse" else StreamableHttpTransport(place.url)


async def fastmcp(place: Place) -> Seen:
    """Read, call and list through fastmcp's client."""
    from fastmcp.client import Client

    async with Client(fastmcp_transport(place)) as client:

        async def call(name: str, arguments: dict[str, object]) -> str:
            return (await client.call_tool(name, arguments)).content[0].text

        async def read(uri: str) -> bytes:
            return base64.b64decode((await client.read_resource(uri))[0].blob)

        tools = [tool.name for tool in await client.list_tools()]
        return await seen(tools, await draw(place, call), read)


async def langchain(place: Place) -> Seen:
    """LangChain: every answer of a tool goes back to a chat model, OpenAI's or Google's, with all of its blocks."""
    from langchain_core.messages import HumanMessage
    from langchain_google_genai import ChatGoogleGenerativeAI
    from langchain_mcp_adapters.client import MultiServerMCPClient
    from langchain_openai import ChatOpenAI

    connection = {"transport": {"http": "streamable_http"}.get(place.transport, place.transport), "url": place.url}
    if place.transport == "stdio":
        connection = {"transport": "stdio", "command": place.command[0], "args": place.command[1:], "env": place.env}
    client = MultiServerMCPClient({"controlnet": connection})
    tools = {tool.name: tool for tool in await client.get_tools()}

    async def read(uri: str) -> bytes:
        return (await client.get_resources("controlnet", uris=uri))[0].as_bytes()

    answer = ""
    for model in (
        ChatOpenAI(model="scripted", base_url=f"{place.model}/v1", api_key="none", max_retries=0),
        ChatGoogleGenerativeAI(model="scripted", base_url=place.model, google_api_key="none", max_retries=0),
    ):
        bound = model.bind_tools(list(tools.values()))
        messages = [HumanMessage("Draw.")]
        while calls := (said := await bound.ainvoke(messages)).tool_calls:
            told = [await tools[call["name"]].ainvoke(call) for call in calls]
            answer = told[-1].content[0]["text"]
            messages += [said, *told]
    return await seen(list(tools), answer, read)


async def openai_agents(place: Place) -> Seen:
    """OpenAI's agents, with the five seconds that they give a call."""
    from agents import Agent, Runner, set_tracing_disabled
    from agents.mcp import MCPServerSse, MCPServerStdio, MCPServerStreamableHttp
    from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
    from openai import AsyncOpenAI

    set_tracing_disabled(disabled=True)
    model = OpenAIChatCompletionsModel("scripted", AsyncOpenAI(base_url=f"{place.model}/v1", api_key="none"))
    server = {"command": place.command[0], "args": place.command[1:], "env": place.env}
    kinds = {"stdio": MCPServerStdio, "sse": MCPServerSse, "http": MCPServerStreamableHttp}
    params = server if place.transport == "stdio" else {"url": place.url}
    async with kinds[place.transport](params) as controlnet:

        async def read(uri: str) -> bytes:
            return base64.b64decode((await controlnet.read_resource(uri)).contents[0].blob)

        agent = Agent(name="painter", model=model, mcp_servers=[controlnet])
        result = await Runner.run(agent, "Draw.")
        outputs = [item.output for item in result.new_items if item.type == "tool_call_output_item"]
        tools = [tool.name for tool in await controlnet.list_tools()]
        return await seen(tools, first_text(outputs[-1]), read)


async def pydantic_ai(place: Place) -> Seen:
    """Pydantic AI with OpenAI's form of tools; its form for Google is made without asking."""
    from pydantic_ai import Agent
    from pydantic_ai.mcp import MCPToolset
    from pydantic_ai.messages import ToolReturnPart
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.profiles.google import GoogleJsonSchemaTransformer
    from pydantic_ai.providers.openai import OpenAIProvider

    toolset = MCPToolset(fastmcp_transport(place))

    async def read(uri: str) -> bytes:
        return (await toolset.read_resource(uri)).data

    async with toolset:
        tools = await toolset.list_tools()
        for tool in tools:
            schema = tool.input_schema
            assert GoogleJsonSchemaTransformer(schema).walk()["properties"].keys() == schema["properties"].keys()
        model = OpenAIChatModel("scripted", provider=OpenAIProvider(base_url=f"{place.model}/v1", api_key="none"))
        result = await Agent(model, toolsets=[toolset]).run("Draw.")
        parts = [part for message in result.all_messages() for part in message.parts]
        answers = [part.content for part in parts if isinstance(part, ToolReturnPart)]
        return await seen([tool.name for tool in tools], first_text(answers[-1]), read)


async def google_genai(place: Place) -> Seen:
    """Google's own library, which takes a session of the SDK for a tool."""
    from google import genai
    from google.genai import types
    from mcp import ClientSession
    from mcp.client.sse import sse_client
    from mcp.client.stdio import StdioServerParameters, stdio_client
    from mcp.client.streamable_http import streamable_http_client

    server = StdioServerParameters(command=place.command[0], args=place.command[1:], env=place.env)
    opened = {
        "stdio": lambda: stdio_client(server),
        "sse": lambda: sse_client(place.url),
        "http": lambda: streamable_http_client(place.url),
    }
    async with AsyncExitStack() as stack:
        streams = await stack.enter_async_context(opened[place.transport]())
        session = await stack.enter_async_context(ClientSession(*streams[:2]))
        await session.initialize()

        async def read(uri: str) -> bytes:
            return base64.b64decode((await session.read_resource(uri)).contents[0].blob)

        client = genai.Client(api_key="none", http_options=types.HttpOptions(base_url=place.model))
        asked = {"model": "scripted", "contents": "Draw.", "config": {"tools": [session]}}
        result = await client.aio.models.generate_content(**asked)
        parts = [part for row in result.automatic_function_calling_history for part in row.parts]
        answers = [part.function_response.response for part in parts if part.function_response]
        tools = [tool.name for tool in (await session.list_tools()).tools]
        return await seen(tools, first_text(answers[-1]), read)


async def google_adk(place: Place) -> Seen:
    """Google's agents, with the five seconds that they give a call over stdio."""
    from google.adk.agents import LlmAgent
    from google.adk.models.google_llm import Gemini
    from google.adk.runners import InMemoryRunner
    from google.adk.tools.mcp_tool import mcp_session_manager as sessions
    from google.adk.tools.mcp_tool.mcp_toolset import McpToolset
    from google.genai import types
    from mcp import StdioServerParameters

    os.environ["GOOGLE_API_KEY"] = "none"
    server = StdioServerParameters(command=place.command[0], args=place.command[1:], env=place.env)
    params = {
        "stdio": lambda: sessions.StdioConnectionParams(server_params=server),
        "sse": lambda: sessions.SseConnectionParams(url=place.url),
        "http": lambda: sessions.StreamableHTTPConnectionParams(url=place.url),
    }
    toolset = McpToolset(connection_params=params[place.transport]())
    model = Gemini(model="scripted", base_url=place.model)
    runner = InMemoryRunner(LlmAgent(name="painter", model=model, tools=[toolset]), app_name="painting")
    session = await runner.session_service.create_session(app_name="painting", user_id="one")
    message = types.Content(role="user", parts=[types.Part(text="Draw.")])
    answers = list[object]()
    async for event in runner.run_async(user_id="one", session_id=session.id, new_message=message):
        answers += [row.response for row in event.get_function_responses()]
    tools = [tool.name for tool in await toolset.get_tools()]
    await runner.close()
    return await seen(tools, first_text(answers[-1]), None)


async def llama_index(place: Place) -> Seen:
    """LlamaIndex, whose tools it calls by itself."""
    from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

    target = place.command[0] if place.transport == "stdio" else place.url
    client = BasicMCPClient(target, args=place.command[1:], env=place.env)
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client).to_tool_list_async()}
    for tool in tools.values():
        assert tool.metadata.to_openai_tool()["function"]["parameters"]["properties"], tool.metadata.name

    async def call(name: str, arguments: dict[str, object]) -> str:
        return (await tools[name].acall(**arguments)).raw_output.content[0].text

    async def read(uri: str) -> bytes:
        return base64.b64decode((await client.read_resource(uri)).contents[0].blob)

    return await seen(list(tools), await draw(place, call), read)


async def smolagents(place: Place) -> Seen:
    """Smolagents, whose tools are not asynchronous and which reads no resources."""
    from mcp import StdioServerParameters
    from smolagents import MCPClient, OpenAIModel
    from smolagents.models import ChatMessage

    server = {"url": place.url, "transport": "sse" if place.transport == "sse" else "streamable-http"}
    if place.transport == "stdio":
        server = StdioServerParameters(command=place.command[0], args=place.command[1:], env=place.env)

    def run() -> tuple[list[str], str]:
        with MCPClient(server, structured_output=False) as tools:
            named = {tool.name: tool for tool in tools}
            model = OpenAIModel("scripted", api_base=f"{place.model}/v1", api_key="none")
            asked = [ChatMessage(role="user", content=[{"type": "text", "text": "Draw."}])]
            (wanted,) = model.generate(asked, tools_to_call_from=tools).tool_calls
            job = named[wanted.function.name](**json.loads(wanted.function.arguments))
            while json.loads(job)["status"] in {"queued", "running"}:
                job = named["job_status"](job_id=json.loads(job)["job_id"], wait_seconds=2)
            return list(named), job

    return await seen(*await anyio.to_thread.run_sync(run), None)


def first_text(answer: object) -> str:
    """The text of the first block in whatever form a library keeps an answer."""
    match answer:
        case {"text": str(text)}:
            return text
        case {"job_id": str()}:
            return json.dumps(answer)
        case str():
            return answer
        case dict():
            return next(filter(None, map(first_text, answer.values())), "")
        case list() | tuple():
            return next(filter(None, map(first_text, answer)), "")
        case _:
            return first_text(answer.model_dump()) if hasattr(answer, "model_dump") else ""


PROGRAMS = {
    program.__name__: program
    for program in (
        *(mcp_1, mcp_2, fastmcp, langchain, openai_agents, pydantic_ai),
        *(google_genai, google_adk, llama_index, smolagents),
    )
}

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    given = Place(**json.load(sys.stdin))
    sys.stdout.write(f"{json.dumps(anyio.run(PROGRAMS[sys.argv[1]], given))}\n")
