"""Changes scripts and notebooks that were written for the reference so that they run here.

Sources are read, not run. Their lines are changed in place, so that formatting and comments stay;
what cannot be changed mechanically is reported with the reason and what to write.

Modules: `source` (a text with edits and findings), `scope` (which names are the reference's),
`bindings` (what variables stand for), `imports`, `masks`, `unpacking`, `losses`, `molding`,
`calls`, `coco_sample`, `imgaug`, `keras_names` (of Keras 2), `surroundings`
(TensorFlow 1, NumPy), `log_folders` and `neighbours` (which only report), `script` (all of them),
`notebook` (cells and their magics), `files` (files and folders).
"""
