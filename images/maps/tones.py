"""Photo-like maps: the picture with less detail, sharpness, colour or quality than the one to be drawn."""

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import Plane, Rgb, luminance


def _small(rgb: Rgb, factor: float) -> Rgb:
    """The picture with both sides divided by the factor (at least one pixel), by area averaging."""
    height, width = rgb.shape[:2]
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _grown(small: Rgb, like: Rgb) -> Rgb:
    """The small picture at the size of another, bicubic."""
    size = (like.shape[1], like.shape[0])
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def tile(rgb: Rgb, factor: float) -> Rgb:
    """Colours and layout without detail: shrunk by `factor` (area averaging) and grown back (bicubic)."""
    return _grown(_small(rgb, factor), rgb)


def blur(rgb: Rgb, sigma_pixels: float) -> Rgb:
    """The picture under a Gaussian of `sigma_pixels`; 9 is sd-webui's blur_gaussian."""
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_pixels), dtype=np.uint8)


def gray(rgb: Rgb) -> Plane:
    """The picture without colour: its Rec. 601 luminance, so a grey picture stays as it is.

    sd-webui's recolor_luminance hands an RGB array to a BGR conversion, which swaps red and blue (a red coat comes out
    as dark as a blue one should). That is not copied.
    """
    return luminance(rgb)


def low_quality(rgb: Rgb, factor: float, quality: int) -> Rgb:
    """A poor copy: shrunk by `factor`, through JPEG at `quality` (1 to 95) in memory, grown back (bicubic).

    There is no reference annotator; the definition is ours.
    """
    bgr = cv2.cvtColor(_small(rgb, factor), cv2.COLOR_RGB2BGR)
    jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    small = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB), dtype=np.uint8)
    return _grown(small, rgb)
