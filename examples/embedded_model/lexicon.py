# SPDX-License-Identifier: Apache-2.0
"""Names and things without end, so that a model that wants to repeat one has to copy it.

Everything open-ended (people, towns, places, items, tools) passes through `Lexicon.keep`: a checksum puts one string
in ten aside, training never sees those, and the evaluation (`held_out=True`) uses nothing else.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

ONSETS = """b br c cr d dr f fr g gr h j k kr l m n p pr qu r s sh sk sl st t th tr v w y z bl cl fl gl ch gw kh ph sn sp
str vl zh """.split() + ["", ""]
NUCLEI = "a e i o u a e i o ae ai ea ei ia ie oa oo ou au ee y".split()
CODAS = "l m n r s t d k g nd ng nt rn rd rk st sk th x sh ss ll lm rt ck mb ff".split() + [""] * 14
EASY_START = "B C D F G H J K L M N P R S T V W Z Br Dr Gr Th Tr Cr Fr St Sh Ch El Al Or Is An Em Ul Ed Ar".lower().split() + ["", ""]
EASY_ON = "b d f g k l m n r s t v z ll nn rr ss ld nd rn rl lv nt rt th st mm tt dr br gg rv".split()
EASY_V = "a e i o u a e i o ai ei ie".split()
EASY_END = "n r s l th m d k t x nd rd ck sk ll nn".split() + [""] * 10
ENDS_P = "a en in ar or us iel ric wyn is eth an on ina elle ard mund bert gar ra la ley by".split() + [""] * 20

T_HEAD = """Ash Oak Mill River Stone Black White Grey Red Raven Wolf Fox Elm Thorn Brook Salt Cold Bright High Low North South
East West Winter Summer Dun Hollow Marsh Moor Glen Hazel Iron Silver Gold Copper Bram Fern Heather Gull Crow Hart Lamb Wheat Barley
Honey King Queen Bishop Miller Harrow Long Short Broad Green Rush Swan Mist Storm Frost Amber Birch Willow Cinder Dusk Dawn Eagle""".split()
T_TAIL = """ford bridge ton ham wick bury field dale brook mouth haven port stead worth cross gate well wood moor ridge
fall hill watch shire fen mere holm by hurst burn cliff den combe""".split()
ADJ = """iron brass copper silver golden wooden oak ash bone leather wool silk linen glass clay stone steel rusty old new broken
small large heavy light bright dark painted carved cracked polished plain fine red blue green black white grey yellow long short round
crooked hidden locked empty full dusty wet dry sharp blunt patched striped woven gilded hollow tall narrow wide northern southern
little crimson violet bent sturdy cheap rare ancient enchanted lucky stolen""".split()
NOUN = """lantern rope sword dagger shield helmet bow arrow axe hammer spear knife key lamp candle torch map book scroll letter
ring necklace brooch crown coin purse bag sack barrel chest box basket bucket pot pan kettle cup mug bowl plate spoon jug bottle
flask vial potion salve herb root mushroom apple pear loaf cheese cloak coat boot glove belt hat hood shirt blanket pillow tent
saddle bridle horseshoe wheel cart wagon boat oar net hook anchor sail compass mirror comb needle thread cloth bell drum flute
lute harp horn whistle dice card pipe ladder plank nail saw chisel shovel pick hoe rake sickle scythe anvil bellows ingot ore
gem ruby pearl opal amulet charm idol mask doll statue banner flag pennant tapestry rug chair table bench stool shelf""".split()
SCENERY = """gate door bridge well tower wall fountain statue shrine stable barn mill forge oven hatch cellar drawbridge
lever chest fence ladder window cage crate altar bell banner post pillar stair tunnel portcullis trapdoor shutter pump signpost
tent wagon boat crane winch lock vault arch hearth furnace kiln loom press cart trough hedge tree stump boulder""".split()
PLACE_KIND = """inn tavern market mill temple tower bridge harbour smithy chapel library bakery stable mine quarry orchard
graveyard watchtower lighthouse garden cellar well square barracks hall keep cave forest lake swamp pass ferry guildhall
school bathhouse warehouse tannery brewery apothecary prison dock vineyard monastery ruin camp crossroads""".split()
PROFESSION = """innkeeper guard smith herbalist baker miller fisher hunter priest merchant sailor carpenter tailor cobbler
potter weaver scribe healer farmer shepherd mason tanner brewer butcher cook bard beggar thief captain soldier miner jeweller
ferryman librarian gardener stablehand gravedigger judge mayor steward knight squire monk alchemist astronomer cartographer
fletcher beekeeper glassblower locksmith midwife peddler watchman chandler cooper dyer falconer messenger tinker huntress
ranger warden fortune-teller toll-keeper rat-catcher bookbinder candlemaker boatwright""".split()
CREATURE = """wolf bear boar goblin troll ogre bandit ghost spider serpent rat crow raven owl fox stag dragon wyvern giant
skeleton witch lynx badger eel griffin basilisk harpy imp bat hound bull ram viper""".split()
FOOD = """bread cheese stew soup pie porridge trout roast mutton sausage ham eggs onions apples honey cakes pears plums berries
turnips cabbage beans dumplings eel pottage oatcakes""".split()
DRINK = "ale beer cider mead wine milk water brandy tea perry stout elderwine".split()
COLOR = "red blue green black white grey yellow brown purple orange silver golden crimson violet".split()
DAY = """Monday Tuesday Wednesday Thursday Friday Saturday Sunday|tomorrow at dawn|tomorrow at dusk|the first day of spring|
midsummer|the next full moon|market day|the end of the week|harvest day|tonight|noon tomorrow|midnight""".replace("\n", "")
DAYS = [d for part in DAY.split("|") for d in (part.split() if part.startswith("Mon") else [part])]
DIRECTION = """north|south|east|west|north past the {sc}|down the {k} road|east of the {k}|behind the {k}|beyond the {k}|
two streets west of the {k}|across the {k}|over the {sc}|up the hill by the {k}|by the {adj} {sc}|along the river|upstream|
left of the {k}|next to the {k}|under the {k}|at the end of the {adj} street|a day's walk {w}|half an hour {w} of the {k}|
in the {w} quarter|close to the {sc}|opposite the {k}""".replace("\n", "").split("|")
METAL = "copper silver gold crowns pence coins marks pennies florins".split()
REASON = """a fire|a flood|the long drought|a quarrel over money|the plague|a broken promise|the war|an old curse|bad luck|
a landslide|too much drink|jealousy|the harsh winter|a stolen {n}|a lost wager|the new tax|rot in the timbers|a feud
with {p}""".replace("\n", " ").split("|")
EVENT = """wedding|harvest feast|horse race|archery contest|market|funeral|coronation|trial|fair|dance|auction|festival|
council|hunt|tournament|play|blessing of the boats|night watch|wrestling match""".replace("\n", "").split("|")
VERB_PAST = """found|lost|stole|sold|hid|broke|buried|carved|mended|painted|bought|forged|guarded|burned|blessed|cursed|
gave away|pawned|dropped|polished""".replace("\n", "").split("|")
GROUP_A = "Iron Silver Red Black Grey Golden Silent Broken Crimson Hidden Burning White Salt Ash Winter".split()
GROUP_B = "Hand Order Guild Company Circle Brotherhood Watch Crows Wolves Blades League Lanterns Hounds Court".split()
NUMBERS = "two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty ninety".split()
WORDS = """day night road winter summer storm child brother sister mother father king queen lord lady friend stranger
story song debt secret promise dream fear hope luck work trouble""".split()


class Lexicon:
    """Random names of one side of the split. All choices come from `rng`, so a seed gives the same corpus."""

    def __init__(self, rng: random.Random, held_out: bool = False) -> None:
        self.rng = rng
        self.held_out = held_out

    def keep(self, make: Callable[[], str]) -> str:
        for _ in range(200):
            s = make()
            if (zlib.crc32(s.lower().encode()) % 10 == 0) == self.held_out:
                return s
        return make()

    def c(self, seq: list[str]) -> str:
        return seq[int(self.rng.random() * len(seq))]

    def syllable(self) -> str:
        return self.c(ONSETS) + self.c(NUCLEI) + self.c(CODAS)

    def easy_word(self) -> str:
        """Two or three open syllables, as most authors name their people."""
        c = self.c
        middle = "".join(c(EASY_ON) + c(EASY_V) for _ in range(1 if self.rng.random() < 0.7 else 2))
        return c(EASY_START) + c(EASY_V) + middle + c(EASY_END)

    def word(self) -> str:
        if self.rng.random() < 0.75:
            return self.easy_word()
        r = self.rng.random()
        n = 1 if r < 0.15 else 2 if r < 0.75 else 3
        for _ in range(20):
            w = "".join(self.syllable() for _ in range(n - 1)) + self.syllable() + (self.c(ENDS_P) if n < 3 else "")
            if 3 <= len(w) <= 11:
                return w
        return w[:9]

    def invented(self) -> str:
        return self.keep(lambda: self.word().capitalize())

    def person(self) -> str:
        r = self.rng.random()
        if r < 0.72:
            return self.invented()
        if r < 0.86:
            return self.invented() + " " + self.keep(lambda: self.c(T_HEAD) + self.c(T_TAIL))
        if r < 0.93:
            return "Old " + self.invented()
        return self.c(["Captain", "Father", "Mother", "Master", "Lady", "Sir", "Sister", "Brother"]) + " " + self.invented()

    def town(self) -> str:
        r = self.rng.random()
        if r < 0.45:
            return self.keep(lambda: self.c(T_HEAD) + self.c(T_TAIL))
        if r < 0.85:
            return self.invented()
        return self.c(["Port", "Upper", "Lower", "Fort", "Saint", "New"]) + " " + self.invented()

    def place(self) -> str:
        r = self.rng.random()
        if r < 0.3:
            return self.keep(lambda: f"the {self.c(ADJ)} {self.c(PLACE_KIND)}")
        if r < 0.5:
            return self.keep(lambda: f"the {self.c(ADJ).capitalize()} {self.c(NOUN + CREATURE).capitalize()}")
        if r < 0.7:
            return self.invented() + " " + self.c(PLACE_KIND + SCENERY).capitalize()
        if r < 0.85:
            return f"the {self.c(PLACE_KIND)} of {self.invented()}"
        return self.invented()

    def item(self) -> str:
        r = self.rng.random()
        if r < 0.62:
            return self.keep(lambda: f"{self.c(ADJ)} {self.c(NOUN)}")
        if r < 0.76:
            return self.keep(lambda: f"{self.c(ADJ)} {self.word()}")
        if r < 0.86:
            return self.keep(lambda: f"{self.word()} {self.c(NOUN)}")
        if r < 0.95:
            return self.c(NOUN)
        return self.keep(self.word)

    def scenery(self) -> str:
        if self.rng.random() < 0.8:
            return self.keep(lambda: f"{self.c(ADJ)} {self.c(SCENERY)}")
        return self.keep(lambda: f"{self.word()} {self.c(SCENERY)}")

    def creature(self) -> str:
        return self.c(CREATURE) if self.rng.random() < 0.7 else self.keep(self.word)

    def number(self, words: bool = False) -> str:
        r = self.rng.random()
        if words and self.rng.random() < 0.25:
            return self.c(NUMBERS)
        return str(self.rng.randint(2, 20) if r < 0.5 else self.rng.randint(21, 99) if r < 0.85 else self.rng.randint(100, 999))

    def price(self) -> str:
        return f"{self.number(words=True)} {self.c(METAL)}"

    def direction(self) -> str:
        d = self.c(DIRECTION)
        if "{" in d:
            d = d.format(sc=self.c(SCENERY), k=self.c(PLACE_KIND), adj=self.c(ADJ), w=self.c(["north", "south", "east", "west"]))
        return d

    def faction(self) -> str:
        return f"the {self.c(GROUP_A)} {self.c(GROUP_B)}" if self.rng.random() < 0.6 else f"the {self.invented()}s"

    def slot(self, kind: str) -> str:
        """A value for a slot of the hand-written files or of a fact's template."""
        c = self.c
        match kind:
            case "name" | "p" | "player":
                return self.person() if kind != "player" else self.invented()
            case "place" | "pl":
                return self.place()
            case "town" | "t":
                return self.town()
            case "item" | "i" | "thing":
                return self.item()
            case "n":
                return self.number()
            case "nn":
                return self.number(words=True)
            case "price" | "pr":
                return self.price()
            case "direction" | "d":
                return self.direction()
            case "profession" | "prof":
                return c(PROFESSION)
            case "creature" | "cr":
                return self.creature()
            case "day":
                return c(DAYS)
            case "faction" | "f":
                return self.faction()
            case "color" | "col":
                return c(COLOR)
            case "drink":
                return c(DRINK)
            case "food":
                return c(FOOD)
            case "sc":
                return self.scenery()
            case "k":
                return c(PLACE_KIND)
            case "ev":
                return c(EVENT)
            case "reason":
                return c(REASON).format(n=c(NOUN), p=self.invented())
            case "vp":
                return c(VERB_PAST)
            case "w":
                return self.keep(self.word)
            case "W":
                return self.invented()
            case "word":
                return c(WORDS)
            case "adj":
                return c(ADJ)
            case "noun":
                return c(NOUN)
            case _:
                raise KeyError(kind)
