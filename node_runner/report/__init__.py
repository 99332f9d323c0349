"""What runs came to, beside what was published: tables and figures from result.json files.

Reads files only; it neither solves nor trains.
"""
