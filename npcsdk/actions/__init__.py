"""Actions: from a definition to what is legal now, and from a model's output to a checked call."""
