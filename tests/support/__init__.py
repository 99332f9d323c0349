"""Helpers of several test files, by topic."""
