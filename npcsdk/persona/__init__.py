"""What designers write: the schema of worlds and personas, their loader, and its diagnostics."""
