"""Every kind of event of a turn, in an asyncio game loop. Run it: python examples/events.py"""

import asyncio

import npcsdk


async def give_item(item: str, count: int = 1) -> None:
    """Hand something to the player for free.

    Args:
        item: what to hand over
        count: how many
    """
    print(f"\n  [the player now holds {count} x {item}]")


async def main() -> None:
    async with npcsdk.AsyncWorld(actions=[give_item]) as world:
        mara = world["mara"]
        async for event in mara.react("A traveller comes in, wet from the rain."):
            show(event)
        for line in ("Good evening! What does a room cost?", "Who was here before me?"):
            print(f"you: {line}")
            async for event in mara.say(line, seed=1):
                show(event)


def show(event: npcsdk.Event) -> None:
    match event:
        case npcsdk.Text():
            print(event.text, end="", flush=True)
        case npcsdk.ActionStarted():
            print(f"\n  [{event.name} begins]", end="")
        case npcsdk.Action():
            print(f"\n  [{event.name} {dict(event.arguments)} at character {event.offset}]")
        case npcsdk.Refused():
            print(f"\n  [the model tried {event.name}: {event.message}]")
        case npcsdk.End():
            print(
                f"\n  ({event.timings.first_token_ms:.0f} ms to the first word, {len(event.recalled)} recalled)"
            )
        case npcsdk.Failed():
            print(f"\n  error {event.code}: {event.message} {event.hint}")


asyncio.run(main())
