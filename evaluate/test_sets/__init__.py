"""Known test sets: where to get them, which versions are known, how to pack one.

In: names of sets, or images with a pairs file. Out: files in the folder of test sets. May import ``bench``,
``evaluate.protocol`` and ``evaluate.layouts``.
"""
