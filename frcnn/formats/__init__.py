"""Detections as files that other programs read.

Modules: `detections` (what is written), `tables` (CSV, JSON lines, Parquet, COCO's results),
`qupath`, `imagej`, `voc`, `correction` (tasks and annotations to correct), `names` (those of images
and of their files), `registry` (which format a file's name means).
"""
