"""One run: its folder, its record, its objects and its course."""
