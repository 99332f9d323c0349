"""Data sets, one file each. All satisfy ``training.Data``: batches by step number, so that a run
can be resumed.
"""
