# SPDX-License-Identifier: Apache-2.0
"""Tools to offer: invented over and over from a list of deeds, in many spellings, with the lines that call for them.

One deed a line: names | description | parameters | lines. A parameter is `key:kind:description`; kinds are those of `Lexicon.slot`,
`n` (an integer), `a/b/c` (one of these) and `?phrase` (true if the line says the phrase). A `*` before the key: optional.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from lexicon import NOUN, SCENERY, Lexicon

DEEDS = """
open_gate,openGate,unlock,open_door,unbar | Open {a} for the player. | target,gate,door,what:sc:which one to open | open the {0} / can you open the {0} / let me through the {0} / unlock the {0} please / the {0} is shut, open it / i need to get past the {0}
close_gate,shut,lock_door,bar_door | Close or lock something. | target,gate,door:sc:what to close | close the {0} / shut the {0} / lock the {0} behind me / please bar the {0}
give_item,giveItem,hand_over,give | Give the player something. | item,thing,what:i:what to give | give me the {0} / can i have the {0} / hand me the {0} / i need your {0} / i'll take the {0} / could i get a {0}
give_items,hand_out,give | Give the player some items. | item:i:what to give;count,amount,quantity:n:how many | give me {1} {0}s / can i have {1} {0}s / {1} {0}s please / hand me {1} {0}s / i need {1} {0}s
sell_item,sell,trade,sellGoods | Sell something to the player. | item,goods:i:what is sold;price:pr:the price with its coin | i'll buy the {0} for {1} / sell me the {0} for {1} / {1} for the {0}, deal? / here is {1}, give me the {0} / i take the {0} at {1}
sell,sell_goods,make_sale | Sell some items. | item:i:what is sold;count,quantity:n:how many | i'll buy {1} {0}s / sell me {1} {0}s / i want {1} {0}s / let me buy {1} {0}s
buy_item,purchase,buy | Buy something from the player. | item,goods:i:what to buy;price,coins:n:how many coins to pay | buy my {0} for {1} coins / i sell you this {0} for {1} / take my {0}, {1} coins / will you buy the {0} for {1} gold
follow_player,follow,come_along,accompany | Walk with the player from now on. |  | follow me / come with me / walk with me / lets go together / i need you by my side / come along, we have work to do
stay_here,wait_here,stop,stay | Stop and wait here. |  | wait here / stay here / stop following me / dont move / stay where you are / hold this position
attack,fight,strike,attack_target | Attack somebody who is near. | target,enemy,who:p:who to attack | attack {0} / kill {0} / fight {0} / strike {0} down / get {0} / {0} is the enemy, attack
attack_creature,hunt,slay | Hunt a creature. | target,creature,prey:cr:which creature | hunt the {0} / kill the {0} / slay that {0} / get rid of the {0} / attack the {0}
point_to,show_way,point,direct_to,show_road | Point out where a place is. | place,destination,where:pl:which place | where is {0}, show me / point me to {0} / show me the way to {0} / which way to {0}, can you point / point to {0}
guide_to,lead_to,take_to,guide | Lead the player to a place. | place,destination,goal:pl:where to go | take me to {0} / lead me to {0} / guide me to {0} / bring me to {0} / can you walk me to {0}
go_to,walk_to,travel,move_to | Go to a place. | place,destination:pl:where to go | go to {0} / walk to {0} / run to {0} / please go to {0} now / move to {0}
ring_bell,strike_bell,sound_bell | Ring the bell. | strokes,times,count:n:how many strokes | ring the bell {0} times / {0} strokes of the bell / strike the bell {0} times / sound the bell, {0} strokes
play_song,sing,perform,play | Play a song for everybody. | song,title,tune:W:which song | play {0} / sing {0} for us / play the song {0} / can you perform {0} / give us {0}
brew,brew_potion,mix,prepare | Brew something for the player. | potion,remedy,drink:fever tea/burn salve/sleeping draught/night oil/healing potion/strong coffee:which one | brew me some {0} / make a {0} / i need {0} / can you prepare {0} / mix {0} for me
give_quest,offer_task,start_quest | Give the player a task. | quest,task:wolves/bell/mine/letter/herbs/bridge/wedding:which task | give me the {0} quest / i want to do the {0} task / i'll take on the {0} job / tell me about the {0} task, i'm in
set_mood,feel,change_mood | Change the mood. | mood,feeling:happy/angry/sad/calm/afraid:the new mood | be {0} / dont you feel {0} now / you should be {0} / get {0}
send_message,send_letter,tell,notify | Send a message to somebody. | to,recipient,who:p:who gets it;text,message:ACT:what it says | tell {0} to {1} / send word to {0} to {1} / let {0} know to {1} / message {0}: {1}
summon,call_for,fetch_person,call | Call somebody here. | name,who,person:p:who to call | call {0} / fetch {0} / bring {0} here / get {0} for me / i want to talk to {0}, call them
repair,fix,mend,repair_item | Repair something. | item,object,what:i:what to repair | fix my {0} / repair the {0} / my {0} is broken, mend it / can you mend this {0}
forge_item,craft,make_item,build | Make something new. | item,object:i:what to make;material:iron/steel/silver/wood/leather/bronze:what it is made of | make me a {0} out of {1} / forge a {0} from {1} / i want a {0} of {1} / craft a {1} {0}
heal,cure,treat,bandage | Heal somebody. | target,patient,who:p:who to heal | heal {0} / {0} is wounded, help / treat {0} / cure {0} please / can you bandage {0}
light,ignite,light_fire,kindle | Light something. | target,object,what:sc:what to light | light the {0} / put fire to the {0} / set the {0} alight / kindle the {0}
inspect,examine,look_at,search | Look closely at something. | target,object,thing:sc:what to look at | look at the {0} / examine the {0} / check the {0} / search the {0} / take a look at the {0}
rent_room,book_room,give_room | Rent a room. | nights,days:n:how many nights;view,side:street/yard/river/garden:which side | a room for {0} nights, {1} side / i need a room on the {1} side for {0} nights / {0} nights please, with a view of the {1}
serve_drink,pour,serve | Serve a drink. | drink,what:drink:which drink;*large,big:?a large one:whether it is large | pour me a {0}[, a large one] / i'd like a {0}[, a large one] / one {0} please[, a large one] / bring me {0}[, a large one]
serve_food,cook,serve_meal | Serve a meal. | dish,food,meal:food:which dish;portions,plates,count:n:for how many | {1} plates of {0} / cook {0} for {1} people / {0} for {1} please / we are {1} and want {0}
lend_money,give_gold,pay,pay_out | Pay coins to the player. | amount,coins,gold:n:how many coins | give me {0} coins / lend me {0} gold / pay me {0} / i want my {0} coins / you owe me {0} gold
take_money,charge,collect,take_payment | Take coins from the player. | amount,coins,price:n:how many coins | here are {0} coins / take {0} gold / i pay you {0} / here's your {0} gold
set_price,price,mark_price | Set the price of something. | item:i:which item;price,coins:n:the new price in coins | make the {0} cost {1} / set the {0} to {1} coins / the {0} should be {1} coins
throw,toss,drop_item | Throw something. | item,object,what:i:what to throw | throw the {0} / toss me the {0} / drop the {0} / throw your {0} away
cast_spell,cast,use_magic | Cast a spell. | spell,name:W:which spell;target:p:at whom | cast {0} on {1} / use {0} on {1} / hit {1} with {0} / {0} on {1}, now
guard,watch_over,protect,defend | Guard something or somebody. | target,what,who:pl:what to guard;*quietly,silent:?quietly:whether to stay hidden | guard {0}[ quietly] / keep watch over {0}[ quietly] / protect {0}[ quietly]
raise_alarm,alarm,sound_alarm | Raise the alarm. | reason,danger:fire/thieves/wolves/soldiers/flood:what the danger is | raise the alarm, {0} / alarm, {0}! / warn everybody, {0} / there's {0}, sound the alarm
mark_map,add_to_map,mark | Mark a place on the player's map. | place,location:pl:which place | mark {0} on my map / put {0} on the map / where is {0}, mark it please / can you mark {0}
ride,saddle,ready_mount | Make a mount ready. | animal,mount:horse/mule/pony/camel/donkey:which animal | saddle the {0} / get the {0} ready / i need a {0} / i want to ride the {0}
lower,lower_bridge,raise,raise_bridge | Move the bridge. | direction,position:up/down:up or down | bridge {0} please / move the bridge {0} / bring the bridge {0} / i need the bridge {0}
bet,roll_dice,gamble | Play dice with the player. | stake,coins:n:how many coins | i bet {0} coins / lets roll for {0} / dice, {0} coins / i stake {0} gold
teach,train,teach_skill | Teach the player a skill. | skill,lesson:archery/swimming/cooking/lockpicking/riding/reading:which skill | teach me {0} / i want to learn {0} / show me some {0} / give me a lesson in {0}
report,report_crime,accuse | Report somebody to the watch. | who,name,person:p:who did it;crime:theft/murder/smuggling/arson/fraud:what they did | report {0} for {1} / {0} did it, it was {1} / i accuse {0} of {1} / write down {0}, {1}
hide,hide_item,conceal | Hide something. | item,what,object:i:what to hide;place,where:pl:where | hide the {0} in {1} / put the {0} in {1} / bring the {0} to {1} and hide it
deliver,carry,bring_to | Bring something to somebody. | item,what:i:what to bring;to,who,recipient:p:who gets it | bring the {0} to {1} / deliver the {0} to {1} / give the {0} to {1} / take this {0} to {1}
dance,bow,wave,laugh,nod,salute,applaud | {A} for the player. |  | {v} for me / please {v} / show me how you {v} / {v} / i want to see you {v}
set_time,wake,wake_up_at | Wake the player at an hour. | hour:n12:the hour | wake me at {0} / i want to get up at {0} / wake me when it's {0}
plant,sow,grow | Plant something. | plant,crop:food:what to plant;rows,beds:n:how many rows | plant {1} rows of {0} / sow {0}, {1} rows / put {0} into {1} beds
dig,dig_at,mine | Dig in a place. | place,where:pl:where to dig;depth,feet:n:how deep in feet | dig {1} feet deep at {0} / dig at {0}, {1} feet / go {1} feet down at {0}
paint,colour,dye | Paint something. | target,what,object:sc:what to paint;color,colour:col:which colour | paint the {0} {1} / make the {0} {1} / i want the {0} in {1} / give the {0} a coat of {1}
schedule,meet_at,set_meeting | Agree on a meeting. | day,when:day:when to meet;place,where:pl:where to meet | meet me on {0} at {1} / let's meet at {1}, {0} / {0} at {1}, be there
name_pet,rename,name_thing | Give something a name. | name,label:W:the new name | call it {0} / name it {0} / its name shall be {0} / rename it to {0}
set_volume,volume,set_level,set_power | Set a level. | level,percent,value:n:the new level | set it to {0} / turn it to {0} / level {0} please / make it {0} percent
scan,scan_target,probe | Scan something. | target,object:sc:what to scan;depth,mode:shallow/deep/quick/full:how thorough | scan the {0}, {1} / do a {1} scan of the {0} / {1} scan on the {0} please
jump_to,set_course,steer_to | Set a course. | destination,target,port:t:where to | set a course for {0} / steer to {0} / jump to {0} / take us to {0}
free_prisoner,release,let_go | Release a prisoner. | name,prisoner,who:p:who goes free | free {0} / let {0} go / release {0} / i want {0} out of the cell
check_stock,look_up,stock | Look up how many are in stock. | item,what:i:which item | how many {0}s have you got / any {0}s left / is there a {0} in stock / check if you have a {0}
check_price,price_of,quote | Look up a price. | item,what:i:which item | whats the price of the {0} / how much for a {0} / look up the {0} price / what would a {0} cost me
find_person,locate,where_is | Find out where somebody is. | name,who,person:p:whom to find | find {0} / where did {0} go / i'm looking for {0} / can you locate {0}
"""

RENAMES = {
    "sc": ["target", "object", "thing", "what"], "i": ["item", "object", "thing", "what"], "p": ["name", "who", "person", "target"],
    "pl": ["place", "where", "location", "destination"], "n": ["count", "amount", "number"],
}
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
SLOT_OF = {"ACT": "act"}


@dataclass(frozen=True)
class Param:
    keys: list[str]
    kind: str
    about: str
    optional: bool


@dataclass(frozen=True)
class Deed:
    names: list[str]
    description: str
    params: list[Param]
    lines: list[str]


def _parse() -> list[Deed]:
    deeds = []
    for row in DEEDS.strip().splitlines():
        names, description, params, lines = (x.strip() for x in row.split("|"))
        made = []
        for p in filter(None, params.split(";")):
            keys, kind, about = p.split(":")
            made.append(Param(keys.lstrip("*").split(","), kind, about, keys.startswith("*")))
        deeds.append(Deed(names.split(","), description, made, lines.split(" / ")))
    return deeds


ALL = _parse()


@dataclass
class Tool:
    """A tool as it is offered, and how to ask for it."""

    deed: Deed
    schema: dict[str, object]
    keys: list[str]
    enums: list[list[str]]
    verb: str = ""

    @property
    def name(self) -> str:
        return str(self.schema["name"])


def respell(rng: random.Random, name: str) -> str:
    if rng.random() < 0.14 and "_" in name:
        a, *rest = name.split("_")
        return a + "".join(w.capitalize() for w in rest)
    return name


def invent(lex: Lexicon, deed: Deed | None = None) -> Tool:
    """A tool with its own name, keys, wording and enum; a share of them with words that mean nothing."""
    rng = lex.rng
    if deed is None and rng.random() < 0.16:
        deed = strange(lex)
    deed = deed or rng.choice(ALL)
    name = deed.names[0] if rng.random() < 0.4 else rng.choice(deed.names)
    verb = name.split("_")[0]
    if rng.random() < 0.12 and "_" not in name and deed.params:
        name += "_" + rng.choice(deed.params[0].keys)
    properties: dict[str, object] = {}
    keys: list[str] = []
    required: list[str] = []
    enums: list[list[str]] = []
    bare = rng.random() < 0.15
    for p in deed.params:
        options = [k for k in p.keys + (RENAMES.get(p.kind, []) if rng.random() < 0.3 else []) if k not in keys]
        key = options[0] if rng.random() < 0.4 else rng.choice(options)
        spec: dict[str, object] = {"type": "integer" if p.kind in ("n", "n12") else "boolean" if p.kind.startswith("?") else "string"}
        choices: list[str] = []
        about = {} if bare else {"description": p.about}
        if "/" in p.kind:
            pool = p.kind.split("/")
            choices = rng.sample(pool, min(len(pool), rng.randint(2, 5)))
            if rng.random() < 0.3 and len(pool) > 2:
                choices = [lex.word() if rng.random() < 0.5 else c for c in choices]
            spec |= ({"enum": choices} | about) if rng.random() < 0.5 else (about | {"enum": choices})
        else:
            spec |= about
        if p.kind == "n" and rng.random() < 0.2:
            spec |= {"minimum": 1} | ({"maximum": 1000} if rng.random() < 0.5 else {})
        elif spec["type"] == "string" and not choices and rng.random() < 0.08:
            spec["maxLength"] = rng.choice([20, 40, 60, 80])
        if p.optional and rng.random() < 0.3:
            spec["default"] = False
        properties[key] = spec
        keys.append(key)
        enums.append(choices)
        if not p.optional:
            required.append(key)
    description = deed.description.format(a=rng.choice(["a gate", "a door", "something", "a gate or door"]), A=verb.capitalize())
    schema: dict[str, object] = {"name": respell(rng, name), "description": description}
    parameters: dict[str, object] = {"type": "object", "properties": properties}
    if required or rng.random() < 0.5:
        parameters["required"] = required
    schema["parameters"] = parameters
    return Tool(deed, schema, keys, enums, verb)


def strange(lex: Lexicon) -> Deed:
    """A deed with an invented verb: only the words of the line tell that it is meant."""
    verb = lex.keep(lex.word)
    noun = lex.rng.choice([lex.keep(lex.word), lex.c(NOUN), lex.c(SCENERY)])
    kind = lex.rng.choice(["sc", "i", "p", "pl", "n", "col"])
    key = lex.rng.choice([noun, *RENAMES.get(kind, ["value"])])
    lines = {
        "sc": f"{verb} the {{0}} / please {verb} the {{0}} / can you {verb} that {{0}} / i want you to {verb} the {{0}}",
        "n": f"{verb} {{0}} {noun}s / {verb} the {noun} {{0}} times / can you {verb} {{0}} {noun}s",
        "col": f"{verb} the {noun} {{0}} / can you {verb} the {noun} in {{0}}",
    }.get(kind, f"{verb} {'the ' if kind == 'i' else ''}{{0}} / please {verb} {'the ' if kind == 'i' else ''}{{0}} / could you {verb} {'the ' if kind == 'i' else ''}{{0}} now")
    return Deed([f"{verb}_{noun}", verb, f"{verb}_{noun}"], lex.rng.choice([f"{verb.capitalize()} a {noun}.", f"{verb.capitalize()} something."]), [Param([key], kind, f"what to {verb}", False)], lines.split(" / "))


def bare(value: str) -> str:
    return value[4:] if value.startswith("the ") else value


@dataclass
class Request:
    line: str
    arguments: dict[str, object]
    nearby: list[str]
    """Things that have to be near for this to make sense; the game lists them in `Now:`."""


def request(lex: Lexicon, tool: Tool, near: list[str]) -> Request:
    """A line that asks for the tool, and the arguments it means. `near`: what the game says is there."""
    rng = lex.rng
    line = rng.choice(tool.deed.lines)
    words: list[str] = []
    arguments: dict[str, object] = {}
    nearby: list[str] = []
    for p, key, choices in zip(tool.deed.params, tool.keys, tool.enums, strict=True):
        if p.kind.startswith("?"):
            phrase = re.search(r"\[(.*?)\]", line)
            said = rng.random() < 0.5
            if said:
                arguments[key] = True
            elif not p.optional or rng.random() < 0.0:
                arguments[key] = False
            line = re.sub(r"\[.*?\]", phrase[1] if said and phrase else "", line)
            words.append("")
            continue
        if p.kind in ("n", "n12"):
            n = rng.randint(1, 12) if p.kind == "n12" or rng.random() < 0.45 else int(lex.number())
            n = max(2, n)
            words.append(NUMBERS[n] if n <= 12 and rng.random() < 0.25 else str(n))
            arguments[key] = n
            continue
        if choices:
            value = rng.choice(choices)
            words.append(value)
        elif p.kind == "ACT":
            from facts import ACT, Filler

            value = Filler(lex).fill(rng.choice(ACT))
            words.append(value)
        else:
            value = bare(lex.slot(p.kind))
            if p.kind in ("sc", "p", "cr", "i") and near and rng.random() < 0.6:
                value = rng.choice(near)
            elif p.kind in ("sc", "cr") or (p.kind == "p" and rng.random() < 0.5):
                nearby.append(value)
            shown = value
            if p.kind == "sc" and rng.random() < 0.2 and " " in value and not any(v != value and v.endswith(value.split()[-1]) for v in near):
                shown = value.split()[-1]
                if value not in near and value not in nearby:
                    nearby.append(value)
            elif p.kind == "pl" and value[0].islower():
                shown = "the " + value
            words.append(shown)
        arguments[key] = value
    line = re.sub(r"\{v\}", tool.verb, line)
    line = re.sub(r"\{(\d)\}", lambda m: words[int(m[1])], line)
    line = re.sub(r"\[.*?\]", "", line).replace("the the ", "the ").replace("the Old ", "Old ")
    return Request(line, arguments, nearby)
