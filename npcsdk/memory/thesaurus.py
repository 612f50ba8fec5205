"""Words that players and designers use for the same thing: a small thesaurus of everyday English.

It lets "how much for a beer?" find the ale and "what's for supper?" the stew, which spelling cannot. A word
may stand in several groups. A neighbour counts for less than the word itself, so a group may be generous.
"""

from __future__ import annotations

from functools import cache

from npcsdk.memory.text import terms, words

__all__ = ["hints", "neighbours"]

_GROUPS = """
ale beer drink mug brew pint cider
wine brandy liquor spirits strong drink
eat food meal supper dinner lunch breakfast hungry stew soup dish bowl serve cook
bread loaf cake pie bake baker
cost price pay charge fee toll worth expensive cheap coin silver gold pennies money rent
money debt coin owe poor rich wealth broke
buy sell trade trader merchant shop wares market stall goods purchase deal
reward bounty prize paid payment wage wages salary earn
fine punish punishment penalty law crime illegal forbidden allowed jail prison
jail prison cell dungeon locked prisoner imprisoned
steal thief robber rob stolen burglar bandit crook pickpocket
smuggle smuggler contraband
kill murder slay slain dead die hanged executed
die dead death funeral bury burial grave graves tomb coffin corpse
survive survivor alive live lived
ill sick fever disease cough plague unwell illness ache
medicine remedy cure heal healer potion tea salve ointment herb balm draught elixir brew
wound hurt injury injured bleeding cut bite burn
poison poisonous venom toxic dangerous adder snake
snake adder viper serpent
sleep sleeping bed rest dream room tired insomnia awake
room bed lodging stay night guest sleep upstairs
inn tavern pub bar lantern alehouse hostel
guest guests visitor stranger traveller newcomer staying lodger outsider foreigner
live lives dwell home house hut reside resident inhabitant
house home building hut cottage cabin
church chapel temple shrine cathedral abbey
priest father monk cleric vicar preacher clergy
pray prayer bless blessing holy saint faith god gods religion worship
feast festival celebrate celebration holiday party
wedding marry married bride groom wife husband engaged spouse
husband wife spouse widow partner
mother mum mom mama parent
father dad papa parent
child children kid kids boy girl son daughter young little
old oldest age aged ancient years elderly
reeve mayor ruler lord rule ruled govern leader chief earl duke king boss charge
king queen lord earl duke noble baron crown
guard guards watchman sentry soldier watch patrol keeper
soldier soldiers army troops warrior foot spear fighter men
war battle fight fought conflict siege
fight fist brawl punch duel combat fighting fistfight
sword blade weapon steel dagger
knife dagger blade
axe hatchet
armour armor mail shirt shield chainmail
smith smithy forge blacksmith anvil hammer
sharpen edge whet blunt dull
iron ore metal steel
quench cool cools harden
gate door entrance enter entry portcullis postern doorway
door entrance hatch
key lock locked unlock
shut close closed closes locked
open opens opened unlock hours
road path way route street track lane trail
way path passage tunnel entrance shaft
far distance long walk journey miles away hour days
near nearest close next beside
walk travel journey ride road trip
castle fortress keep stronghold
town village city place settlement
wall walls rampart
tall high height big
square centre center plaza middle
well water
lake mere water shore
boat ship oars row sail rowing ferry
fish fisher fishing fisherman catch eel pike net
pier dock jetty harbour harbor wharf quay
island isle rock
swim swimmer drown drowned
marsh swamp bog mire reeds
fog mist foggy misty haze
snow winter cold frost ice
rain storm weather
light lamp lantern glow candle torch
fire burn burned flame burning blaze
horse horses pony mare mount stable
stable stables barn
dog hound puppy
bell bells ring ringing toll chime strokes rang
song songs sing tune ballad music verse melody singer bard
bard singer minstrel musician
lute instrument harp
play game games
slow sad mournful
mine mines miner miners dig dug digging shaft tunnel pit
collapse collapsed fell fallen cave accident disaster caved
beam beams props prop support timber pillar
missing lost vanished disappeared gone
discover locate
hair face appearance
strange odd stranger weird mysterious suspicious
rumour rumours rumor rumors gossip news
ghost ghosts spirit haunted spectre
secret hidden hide secrets
treasure shiny jewel jewels gem
clothes cloak coat boots shoes shirt hood garment
warm warmest hot
quiet calm silent peaceful
harvest grain crop crops corn wheat farm
starve starving hungry hunger famine
poor beggar beggars poverty
gift present give gave
task quest job work errand mission
work job helper apprentice hire employ hiring assistant
tax taxes toll duty levy
letter message note seal papers document
seal stamp crest sign emblem
flag banner standard
begin start beginning
end finish last ended
prove proof evidence
cause reason why because
teach learn lesson train training
attack hit strike thrust blow stab
defend defence block guard protect shield
help aid assist favour favor
angry anger mad furious
afraid fear scared frightened
love loves fond
hate hates enemy dislike
friend ally companion
"""


_HINTS = {
    "where": "stand lie north south east west middle end outside inside beside behind under road street near",
    "when": "dawn dusk noon midnight sunrise sunset morning evening hour day week month spring summer autumn "
    "winter ago open close",
    "how much": "cost silver gold copper penny coin price",
    "how many": "hundred dozen two three four five six seven eight nine ten twelve twenty",
    "how long": "hour day week month year",
    "how far": "walk hour day mile north south east west",
    "how old": "year old",
}


def hints(line: str) -> frozenset[str]:
    """Stems that an answer to the question in ``line`` is likely to hold: places for "where", and so on."""
    asked = f" {' '.join(words(line[:500]))} "
    found: set[str] = set()
    for question, answers in _HINTS.items():
        if f" {question} " in asked or f" {question}'s " in asked:
            found.update(terms(answers))
    return frozenset(found)


@cache
def neighbours(term: str) -> frozenset[str]:
    """The stems that stand with the stem ``term`` in some group; empty for a word that has none."""
    return _table().get(term, frozenset())


@cache
def _table() -> dict[str, frozenset[str]]:
    table: dict[str, set[str]] = {}
    for line in _GROUPS.strip().splitlines():
        group = set(terms(line))
        for term in group:
            table.setdefault(term, set()).update(group - {term})
    return {term: frozenset(group) for term, group in table.items()}
