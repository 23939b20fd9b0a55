"""Answers in words: what every model that answers shares, and small ones beside InstructBLIP."""
