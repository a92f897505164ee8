"""Urinary sediment: configuration, synthetic micrographs, and the programs."""
