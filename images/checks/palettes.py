"""Colours in which segmentation maps are painted."""

import numpy as np

from controlnet_mcp.images.maps.arrays import Rgb

_ADE20K = """
787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33 ff0652 8fff8c
ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff 08ffd6 07ffe0 ffb806 0aff47
ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00
1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff 0bc8c8 ff5200 00fff5 003dff 00ff70 00ff85 ff0000 ffa300
ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad 0a00ff adff00 00ff99 ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8
001fff 00ff3d 0047ff ff00cc 00ffc2 00ff52 000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff
a3ff00 ffeb00 08b8aa 8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00
ff00a3 ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff 00ffcc
2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""
"""The 150 classes of ADE20K as MMSegmentation and the reference ControlNet annotators paint them, in hexadecimal."""

_CITYSCAPES = """
804080 f423e8 464646 66669c be9999 999999 faaa1e dcdc00 6b8e23 98fb98 4682b4 dc143c ff0000 00008e 000046 003c64
005064 0000e6 770b20
"""
"""The 19 classes of Cityscapes that are trained on."""

VOC_CLASSES = 21


def _voc_colour(index: int) -> tuple[int, int, int]:
    """The colour of a class of PASCAL VOC: the bits of its number, dealt to red, green and blue from the top."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
    return channels[0], channels[1], channels[2]


def palettes() -> tuple[Rgb, ...]:
    """The known palettes, each of shape (classes, 3), without black."""
    listed = [[tuple(bytes.fromhex(code)) for code in table.split()] for table in (_ADE20K, _CITYSCAPES)]
    voc = [_voc_colour(index) for index in range(1, VOC_CLASSES)]
    return tuple(np.array(colours, dtype=np.uint8) for colours in (*listed, voc))
