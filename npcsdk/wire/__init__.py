"""The protocol between a game and the SDK: messages and their bytes, and both peers as state machines without I/O."""
