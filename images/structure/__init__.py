"""Structure scores: how much of the asked structure is in a finished picture.

Importing this package is cheap: NumPy and OpenCV are loaded when the first picture is scored.
"""

from controlnet_mcp.images.structure.values import StructureScore

__all__ = ["StructureScore"]
