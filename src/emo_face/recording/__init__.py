"""Bags and what is made of them: film, page, summary."""
