"""The instruction-tuning corpus: prompts, balancing, quality gate, rows."""
