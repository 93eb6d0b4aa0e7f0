"""The small corner mark that says what made the picture."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from controlnet_mcp.providers.draft.canvas import Mask, Rgb

_SHARE = 0.025
"""Height of the letters as a share of the picture's height."""


def marked(rgb: Rgb, allowed: Mask | None = None) -> Rgb:
    """Set the word `draft` on a translucent pill in the lower right corner.

    Args:
        rgb: The picture; it is not changed.
        allowed: Where pixels may change; a mark that does not fit in is left out.
    """
    height, width = rgb.shape[:2]
    size = max(round(min(height, width * 0.75) * _SHARE), 8)
    font = ImageFont.load_default(size)
    left, top, right, bottom = (round(v) for v in font.getbbox("draft"))
    pad_x, pad_y = round(size * 0.6), round(size * 0.35)
    pill = (right - left + 2 * pad_x, bottom - top + 2 * pad_y)
    corner = (width - pill[0] - size // 2, height - pill[1] - size // 2)
    if min(corner) < 0:
        return rgb
    area = np.s_[corner[1] : corner[1] + pill[1], corner[0] : corner[0] + pill[0]]
    if allowed is not None and not bool(allowed[area].all()):
        return rgb
    plate = Image.new("RGBA", pill, (0, 0, 0, 0))
    draw = ImageDraw.Draw(plate)
    draw.rounded_rectangle((0, 0, pill[0] - 1, pill[1] - 1), pill[1] // 2, fill=(22, 22, 28, 120))
    draw.text((pad_x - left, pad_y - top), "draft", font=font, fill=(255, 255, 255, 225))
    cover = np.asarray(plate, dtype=np.float32)
    share = cover[..., 3:] / 255
    result = rgb.copy()
    result[area] = np.asarray(rgb[area] * (1 - share) + cover[..., :3] * share + 0.5, dtype=np.uint8)
    return result
