"""Parameters: declared once in data/parameters.yaml, validated, documented."""
