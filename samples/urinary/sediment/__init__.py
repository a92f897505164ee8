"""Synthetic urine sediment: how each class looks, and how a micrograph is composed."""
