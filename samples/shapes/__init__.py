"""Shapes drawn on the fly: configuration, data set, and the program that trains on them."""
