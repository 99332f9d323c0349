"""Command line of node-run."""

from .main import main

__all__ = ["main"]
