"""Maps that need trained weights (depth, pose), and normals, which are arithmetic once there is a depth map."""

import numpy as np

from controlnet_mcp.images.maps.arrays import Rgb, luminance
from controlnet_mcp.images.maps.depth import depth, depth_levels
from controlnet_mcp.images.maps.made import Made
from controlnet_mcp.images.maps.models import MapModels, model_missing
from controlnet_mcp.images.maps.normals import is_grey, normals
from controlnet_mcp.images.maps.parameters import MapParameters
from controlnet_mcp.images.maps.people import find_people
from controlnet_mcp.images.maps.skeleton import draw_people, openpose_joints

BY_MODEL = "It was made by the depth model that is set here; how good it is depends on that."
FROM_DEPTH = "The picture has no colour, so it was taken as a depth map (near is bright); these are its normals."
NOBODY = "The pose model found nobody in the picture."


def depth_map(rgb: Rgb, _knobs: MapParameters, models: MapModels) -> Made:
    """Near is white.

    Raises:
        RequestError: `unsupported` when no depth model is set.
    """
    if models.depth is None:
        raise model_missing("depth")
    return Made(depth(rgb, models.depth), (BY_MODEL,))


def normal_map(rgb: Rgb, knobs: MapParameters, models: MapModels) -> Made:
    """Normals of a depth map that was handed in, or of a photo by way of the depth model.

    Raises:
        RequestError: `unsupported` for a picture in colour when no depth model is set.
    """
    if is_grey(rgb):
        levels, note = luminance(rgb).astype(np.float32), FROM_DEPTH
    elif models.depth is not None:
        levels, note = depth_levels(rgb, models.depth), BY_MODEL
    else:
        raise model_missing("normal")
    return Made(normals(levels, knobs.background_threshold, knobs.flatness, knobs.red), (note,))


def pose_map(rgb: Rgb, knobs: MapParameters, models: MapModels) -> Made:
    """OpenPose skeletons of everybody.

    Raises:
        RequestError: `unsupported` when no pose model is set.
    """
    if models.pose is None:
        raise model_missing("pose")
    people = find_people(rgb, models.pose, knobs.minimum_confidence)
    joints = [openpose_joints(person, knobs.minimum_confidence) for person in people]
    return Made(draw_people((rgb.shape[0], rgb.shape[1]), joints, knobs.stick_pixels), () if joints else (NOBODY,))
