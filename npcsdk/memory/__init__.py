"""What characters have lived through and what they know: journal, index, embedder, scoring, recall."""
