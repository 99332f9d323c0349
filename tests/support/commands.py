"""Command lines composed and checked as node-run does, in this process."""

from hydra import compose, initialize_config_dir

from node_runner.cli.overrides import parse
from node_runner.cli.validation import composed_run, composed_sweep
from node_runner.runs import config

config.register()


def composed(*overrides):
    """The configuration of overrides, without any check."""
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        return compose("config", list(overrides))


def checked(*argv):
    """Compose and check a command line."""
    line = parse(argv)
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        return composed_sweep(line, line) if line.multirun else composed_run(line, line)
