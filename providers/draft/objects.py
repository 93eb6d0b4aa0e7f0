"""Things that prompts name and the materials they are made of (pure data)."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from controlnet_mcp.providers.draft.palette import Colour, from_hex

Place: TypeAlias = Literal["thing", "ground", "part"]


@dataclass(frozen=True, slots=True)
class Material:
    """What something is made of.

    Attributes:
        name: Its own word.
        colours: Two or three variants of its colour.
        place: Whether it is a thing itself, the ground it stands on, or a small part of a thing.
        rise: Where in the picture it usually is: 0 top, 1 bottom.
    """

    name: str
    colours: tuple[Colour, ...]
    place: Place = "thing"
    rise: float = 0.5


def _material(name: str, codes: str, place: Place = "thing", rise: float = 0.5) -> Material:
    return Material(name, tuple(from_hex(code) for code in codes.split()), place, rise)


MATERIALS: dict[str, Material] = {
    row.name: row
    for row in (
        _material("skin", "e9b996 d99e78 c98a62", rise=0.35),
        _material("hair", "5a3826 3a2a26 8a5a34", rise=0.2),
        _material("cloth", "4a6fa5 b0503f 6a8f6f", rise=0.8),
        _material("fur", "c98f55 a8703f e3bd8a", rise=0.5),
        _material("feather", "5f8fb0 d98a4a e8d9b8", rise=0.45),
        _material("scales", "4f8f6a 3f7f86 7a9a4a"),
        _material("foliage", "5f9a45 4a7f3f 86b256", rise=0.35),
        _material("flower", "e0607e f2c14a c98ad0", rise=0.3),
        _material("grass", "86b052 6a9845 a5c267", "ground", 0.85),
        _material("wood", "9a6a3f 7d5232 b88550", rise=0.65),
        _material("stone", "a39b8c 8a8782 bcb09a", rise=0.6),
        _material("brick", "b0593f 9a4a38 c47a58", rise=0.6),
        _material("wall", "eddcbc f2e8d5 e0c79c", rise=0.6),
        _material("roof", "b04a35 8f3f35 c7663f", rise=0.3),
        _material("concrete", "b5b3ad 9d9c9a cbc6bb", rise=0.5),
        _material("metal", "a7b1ba 8793a0 c6ced4", rise=0.5),
        _material("glass", "b8dbe6 9fc9da ffe2a0", "part", 0.45),
        _material("gold", "e0ae3c c98f28 f2d27a", "part", 0.4),
        _material("water", "4f9fc0 3a86ad 86c4d4", "ground", 0.85),
        _material("sand", "ead2a0 dcb97c f3e4c4", "ground", 0.85),
        _material("snow", "f3f7fb dfe9f4 c9d8ea", "ground", 0.85),
        _material("asphalt", "8a8a90 73747c a09f9f", "ground", 0.85),
        _material("table", "b5804c 94623a cf9f66", "ground", 0.8),
        _material("ceramic", "f4ece0 dfe6e8 e6c9b0", rise=0.6),
        _material("coffee", "5a3520 7a4c2c c49a6c", "part", 0.42),
        _material("tea", "b5682a cf8a3f", "part", 0.5),
        _material("fruit", "d8432f e8a23a 8fb545", rise=0.6),
        _material("bread", "d9a35f b97a3c f0d09a", rise=0.6),
        _material("chocolate", "5a3320 7b4b2a", rise=0.6),
        _material("cream", "fbf1dc f3dfbc", "part", 0.4),
        _material("paper", "f4ecd8 e6dabd", rise=0.6),
        _material("leather", "7a4a2f 9a6240", rise=0.6),
        _material("paint", "c8402f 2f6fb0 e0b040", rise=0.6),
        _material("suit", "eef0f2 d5dbe2 f08a3a", rise=0.65),
        _material("earth", "a07a50 83603f bd9a6a", "ground", 0.85),
    )
}
"""Material word to material."""

_THINGS = """
portrait face head person people man woman lady girl boy child model human=skin hair cloth
king queen prince princess=skin hair cloth#7a2f6a gold
wizard witch mage=skin hair#d8d8dc cloth#4a3f8a
warrior knight soldier samurai=metal skin leather
astronaut cosmonaut=skin suit hair metal
dancer ballerina singer musician=skin hair cloth#c0506a
cat kitten=fur#c8925a fur#efdcc0
dog puppy=fur#b98550 fur#f0e2cc
fox=fur#cf6a2f fur#f5e9da
wolf husky=fur#8b929c fur#dfe3e6
bear=fur#7a5236 fur#a87a52
lion=fur#d6a052 hair#8a4f24
tiger=fur#e08a34 fur#f5e6cc
horse deer cow=fur#8f5a34 hair#3f2a20
rabbit bunny mouse=fur#d8cbbb fur#f3e9de
elephant rhino hippo=fur#9a989c
panda=fur#f2efe8 fur#2d2c32
bird parrot eagle owl=feather feather#e8d9b8
duck chicken hen=feather#f2d76a
fish whale shark dolphin=scales#5f93b0 scales#dfe6e8
frog turtle lizard snake crocodile=scales
dragon dinosaur=scales#4a8a5f scales#c9a24a
butterfly bee=flower feather#f0a83a
robot android mech cyborg machine=metal metal#5f7f9a gold
car automobile truck bus taxi=paint metal glass
motorcycle motorbike bicycle bike scooter=paint metal leather
train tram locomotive=paint#3f6f5a metal glass
ship boat sailboat yacht canoe=wood paint#f4efe4 water
airplane plane aircraft helicopter rocket spaceship spacecraft=metal#e3e7ea paint
house home cottage cabin barn farmhouse villa=wall roof wood glass
castle palace fortress=stone roof#4a5f8a
church cathedral temple=stone roof#5f7a78 glass
tower lighthouse=wall#f4eee2 roof
city skyline skyscraper building buildings=concrete concrete#8fa3b5 brick glass
street alley road town village=wall brick roof asphalt
bridge ruin ruins=stone
room interior kitchen bedroom livingroom office library=wall wood cloth#7f9a8a table
tree trees oak pine maple birch=foliage wood
forest woods jungle garden park bush bushes=foliage wood grass
leaf leaves plant plants grass meadow lawn=foliage grass
mountain mountains hill hills cliff cliffs peak=stone#7f8f9a grass
flower flowers bouquet roses tulip tulips sunflower lily=flower foliage
river lake pond sea ocean waterfall harbour harbor=water stone
beach shore island=sand water
road path highway=asphalt
cup mug teacup teapot=ceramic coffee table
coffee espresso latte cappuccino=ceramic coffee cream table
tea=ceramic tea table
vase pot jar bowl plate pottery=ceramic table
bottle glass wine=glass#5f8f6a table
cake dessert pie cupcake icecream=bread cream chocolate fruit
bread pizza food burger meal=bread fruit#c8432f fruit#7f9f3f table
apple cherry strawberry tomato=fruit#cf3a30 foliage
lemon banana=fruit#f0cf3a foliage
orange peach pumpkin=fruit#ea8a2c foliage
grape grapes plum=fruit#6a4590 foliage
book books letter=leather paper
table desk=table wood
chair sofa couch bench furniture=wood cloth#8a5f4a
lamp lantern candle=gold metal
guitar violin piano cello=wood#a5602f gold
sword armor armour shield=metal#b4bdc6 leather gold
crown jewel jewelry ring treasure=gold metal
dress gown skirt=cloth#b03f5f skin
shirt jacket coat hat suit=cloth skin
shoe shoes boot boots bag=leather
camera phone computer laptop watch=metal#4a4f58 glass
"""


def _things() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for line in _THINGS.strip().splitlines():
        words, materials = line.split("=")
        table.update(dict.fromkeys(words.split(), tuple(materials.split())))
    table.update({word: (word,) for word in MATERIALS if word not in table})
    return table


THINGS: dict[str, tuple[str, ...]] = _things()
"""Word of a prompt to materials, each `name` or `name#rrggbb` where the thing has a colour of its own."""

_INDOOR = """
portrait face head headshot selfie person man woman girl boy lady child model cup mug coffee espresso latte tea
teapot teacup vase bowl plate bottle cake dessert food bread pizza fruit apple still-life still life room
interior kitchen bedroom office library studio table desk chair sofa product lamp candle guitar violin piano
book books cat kitten dog puppy wine shoe shoes watch camera phone laptop jewelry
"""
INDOOR: frozenset[str] = frozenset(_INDOOR.split()) | {word for word, made_of in THINGS.items() if "skin" in made_of}
"""Words of pictures that have a backdrop rather than a sky."""

_OUTDOOR = """
landscape house cottage cabin barn castle city skyline street village town mountain mountains hill hills forest
woods jungle garden park meadow field lake river sea ocean beach desert sky sun moon clouds tree trees bridge
road valley island church tower lighthouse harbour harbor waterfall outdoor outdoors snow snowy car train ship
boat
"""
OUTDOOR: frozenset[str] = frozenset(_OUTDOOR.split())
"""Words of pictures that have a sky."""
