"""`emo-face VERB`: one module a verb, found by name."""
