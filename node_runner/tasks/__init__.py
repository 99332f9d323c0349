"""Tasks: loss, evaluation and pictures of a model. One file each."""
