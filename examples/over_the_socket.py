"""Talk to a running server. In another terminal: npcsdk serve. Then: python examples/over_the_socket.py"""

import sys

import npcsdk

try:
    with npcsdk.connect() as world:
        print(f"{world.name}: {', '.join(world.npcs)}")
        for event in world["torva"].say("What do you sell, and for how much?"):
            if isinstance(event, npcsdk.Text):
                print(event.text, end="", flush=True)
        print()
except npcsdk.BridgeError as error:
    sys.exit(f"{error.message}\n{error.hint}")
