"""Where a game meets its characters: the client, the worker in a child process, and the server for engines."""
