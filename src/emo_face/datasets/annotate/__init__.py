"""Situations and quotes for pictures with an emotion, by any vision-language model, and their check."""
