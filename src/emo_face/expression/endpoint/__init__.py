"""Any language model behind an OpenAI-compatible server as the one that reads a situation; no torch."""
