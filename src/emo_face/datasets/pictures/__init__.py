"""Readers of picture data sets: EMOTIC, CAER-S, HECO, SFEW."""
