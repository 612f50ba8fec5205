"""Prompts: what a character is told, in which order, in how many tokens, spelled for its model."""
