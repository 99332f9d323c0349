"""Kinds of methods: how each takes a step."""
