"""Readers for training and evaluation data; never imported by a node."""
