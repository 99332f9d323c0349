"""What a run does with a model: its loss, its evaluation and its pictures. One file each."""
