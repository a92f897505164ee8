"""COCO 2017: configuration, data set, and the program that trains on it."""
