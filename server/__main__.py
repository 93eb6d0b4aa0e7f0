"""`python -m controlnet_mcp.server`: the command line, for hosts that do not find `controlnet-mcp` on their path."""

from controlnet_mcp.server.cli import main

if __name__ == "__main__":
    main()
