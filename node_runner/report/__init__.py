"""Tables and figures of own and published results, read from result.json files."""

__all__: list[str] = []
