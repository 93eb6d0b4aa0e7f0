"""The servers that ours is compared with: one echo tool on the SDK's `MCPServer`, and on its lowlevel `Server`.

Run as a file: `python bench/support/floors.py mcpserver` or `… lowlevel`, with a port for Streamable HTTP on 127.0.0.1
instead of stdio.
"""

import sys


def mcpserver(port: int | None) -> None:
    """Serve with the SDK's own class, as its first tutorial does."""
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("echo", log_level="WARNING")

    async def echo(text: str) -> str:  # a plain function would cost a thread
        """Give the text back."""
        return text

    server.add_tool(echo)
    if port is None:
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=port)


def lowlevel() -> None:
    """Serve stdio with the class underneath."""
    import anyio
    import mcp_types as types
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server
    from mcp.server.stdio import stdio_server

    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}

    async def tools(
        _context: ServerRequestContext[dict[str, object]], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name="echo", input_schema=schema)])

    async def call(
        _context: ServerRequestContext[dict[str, object]], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        text = str((params.arguments or {})["text"])
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)])

    async def serve() -> None:
        server = Server("echo", on_list_tools=tools, on_call_tool=call)
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    anyio.run(serve)


def main(kind: str, port: int | None = None) -> None:
    """Serve until the client closes stdin, or the process is told to stop."""
    match kind:
        case "mcpserver":
            mcpserver(port)
        case "lowlevel" if port is None:
            lowlevel()
        case _:
            sys.exit(f"There is no floor {kind!r} here.")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
