"""One file per MCP tool: typed parameters in, a `Job` out."""
