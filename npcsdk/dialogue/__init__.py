"""Characters in conversation: one turn at a time, from a line to a stream of events."""
