"""Random configurations, most of them mistaken, and what node-run makes of them.

    python tests/fuzzed_configurations.py 1000        # all, in one process, with a summary
    python tests/fuzzed_configurations.py 1000 417    # number 417 alone, with what it prints

Each starts from a task that needs no files, made small, and has up to three changes: values of
another type or out of range, keys that are deleted, added or misspelt, choices, constructors,
flags, Hydra's own options and sweeps. A configuration is as it should be where node-run ends
within a minute, with exit code 0, 2 (a mistake, told in a line) or 3 (diverged), and no traceback.
"""

from __future__ import annotations

import io
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import NamedTuple

import forked  # noqa: F401  # loads what a run would, for it may be interrupted
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from node_runner import cli
from node_runner.runs import config
from node_runner.runs.config import dotted

SECONDS = 30  # until a run is asked to stop, and again until it counts as a hang
MEMORY = 8 << 30

SMALL = ["trainer.max_steps=2", "trainer.max_time=5", "trainer.progress=false"]
SIZES = ["data.train_size=8", "data.validation_size=4", "data.test_size=4", "data.batch_size=4"]
SERIES = ["series.latent=2", "series.state=2", "series.ode_hidden=[4]", "series.decoder=[4]"]
FLOW = ["data.batch_size=8", "data.validation_size=8", "data.test_size=8", "task.grid=8"]
TASKS = {
    "ffjord_toy": [*FLOW, "model.field.hidden=[4]"],
    "cnf_density": [*FLOW, "model.field.width=2"],
    "latent_spirals": [*SIZES, *SERIES, "data.evaluation_size=4", "series.step=0.5"],
    "latent_periodic": [*SIZES, *SERIES, "data.evaluation_size=4", "series.step=0.5"],
    "poisson_events": [*SIZES, *SERIES, "data.evaluation_size=4", "series.step=0.5"],
    "trajectory": ["task.field.hidden=[4]", "data.observations=40"],
    "odenet_mnist": [],  # whose files are not there
}

NUMBERS = "0 -1 1 2 1e5 1e300 -1e300 1e400 1e-320 1e-50 nan inf -inf 0.5 1.0 1_000 007".split()
NUMBERS += ["1" * 30, "-" + "9" * 25, "9" * 5000]
WORDS = ["null", "true", "no", "abc", "''", "'a b'", "'???'", "läufe", "'~'", "~/x", "a=b", "'['"]
WORDS += ["${tol}", "${nope}", "'${oc.env:NOPE}'", "'${', '", "a:b", "2026-11-30", "x" * 3000]
NESTED = ["[]", "[1]", "[a,null]", "[[[1]]]", "{}", "{a:1}", "{a:{b:[1]}}", "[-1]", "[0]", "[1e5]"]
NESTED += ["[" * 150 + "1" + "]" * 150, "{a:" * 40 + "1" + "}" * 40, "[nan,1e400]", "[true]"]
TARGETS = ["null", "1", "[a]", "{}", "''", "os.system", "builtins.input", "builtins.print", "torch"]
TARGETS += ["torch.nn", "torch.nn.Linear", "torch.nn.Tanh", "torch.optim.Adam", "nope", "a..b", "."]
TARGETS += ["node_runner.ode.Solver", "node_runner.ode.Solver.solve", "node_runner.nope", "math.pi"]
TARGETS += ["collections.OrderedDict", "pathlib.Path", "json.dumps", "builtins.int", "sys.exit"]
TARGETS += ["node_runner.flow.CNF", "node_runner.data.toy.Toy", "node_runner.training.Trainer"]
FLAGS = ["-m", "--multirun", "-r", "--cfg job", "--cfg all", "--cfg x", "--cfg hydra --resolve"]
FLAGS += [
    "--info all",
    "--info",
    "--info x",
    "--package model --cfg job",
    "--package nope --cfg job",
]
FLAGS += ["--resolve", "--run", "--config-path x", "--config-name x", "--config-dir nowhere", "-h"]
FLAGS += ["--experimental-rerun x", "--hydra-help", "--nope", "-x", "--shell-completion", "-m -r"]
FLAGS += ["--cfg job --resolve", "--shell-completion install=x", "--config-dir .", "--multi", "--"]
SPECIAL = ["_target_", "_partial_", "_args_", "_recursive_", "_convert_"]
# Not to be changed at random: it would start processes, or write outside of the folder.
LEFT_OUT = re.compile(r"hydra\.(launcher|runtime|hydra_help|help|mode|job\.env)")


class Outcome(NamedTuple):
    """What one configuration came to."""

    argv: list[str]
    code: object
    seconds: float
    stopped: bool
    text: str

    @property
    def fault(self) -> str | None:
        """What is wrong with it, if anything."""
        if self.code == "hang":
            return "does not end"
        if "Traceback (most recent call last)" in self.text:
            return "a traceback"
        if self.code not in ((0, 2, 3, 130) if self.stopped else (0, 2, 3)):
            return f"exit code {self.code}"
        if self.code == 2 and "node-run: " not in self.text and "--package" not in self.argv:
            return "a mistake without a line"
        return None


@cache
def keys(task: str) -> list[str]:
    """The dotted names of all options of a task, and of Hydra's own."""
    config.register()
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        whole = compose("config", [f"task={task}"], return_hydra_config=True)
    tree = OmegaConf.to_container(whole, resolve=False)
    return [key for key, _ in dotted(tree) if not LEFT_OUT.match(key)]


def groups() -> dict[str, list[str]]:
    folders = sorted({file.parent for file in config.FOLDER.rglob("*.yaml")} - {config.FOLDER})
    names = [folder.relative_to(config.FOLDER).as_posix() for folder in folders]
    return {name: config.files(name) for name in names if not name.startswith("launcher")}


def changed(draw: random.Random, task: str) -> list[str]:
    """One change of a configuration, as typed."""
    own = [key for key in keys(task) if not key.startswith("hydra")]
    hydras = [key for key in keys(task) if key.startswith("hydra")]
    key, nodes = draw.choice(own), [k for k in own if k.endswith("._target_")]
    value = draw.choice(draw.choice([NUMBERS, NUMBERS, WORDS, NESTED]))
    group, choices = draw.choice(sorted(groups().items()))
    kind = draw.choices(range(9), [10, 2, 2, 2, 4, 6, 3, 5, 3])[0]
    if kind == 0:
        return [f"{key}={value}"]
    if kind == 1:
        return [f"{draw.choice(['~', '+', '++'])}{key}"] if draw.random() < 0.3 else [f"~{key}"]
    if kind == 2:
        return [f"{draw.choice(['+', '++', ''])}{key}.{draw.choice(['x', 'a.b', '0'])}={value}"]
    if kind == 3:
        at = draw.randrange(len(key))
        return [f"{key[:at]}{draw.choice('xyz.@/:-')}{key[at + 1 :]}={value}"]
    if kind == 4:
        return [f"{group}={draw.choice([*choices, 'nope', value])}"]
    if kind == 5:
        node = draw.choice(nodes).rpartition(".")[0]
        special = draw.choice([*["_target_"] * 5, *SPECIAL])
        text = draw.choice(TARGETS) if special == "_target_" else value
        return [f"{draw.choice(['', '+', '++'])}{node}.{special}={text}"]
    if kind == 6:
        return draw.choice(FLAGS).split()
    if kind == 7:
        return [f"{draw.choice(hydras)}={value}"]
    return ["-m", f"{key}={value},{draw.choice(NUMBERS)}"]


def configuration(number: int) -> list[str]:
    """The command line with a number: the same each time."""
    draw = random.Random(number)
    task = draw.choice(list(TASKS))
    typed = [part for _ in range(draw.choice([1, 1, 2, 3])) for part in changed(draw, task)]
    said = {text.lstrip("+~").partition("=")[0] for text in typed}
    rest = [f"task={task}", *TASKS[task], *SMALL]
    rest = [text for text in rest if text.partition("=")[0] not in said]
    return [*rest, *typed] if draw.random() < 0.5 else [*typed, *rest]


class Hang(BaseException):
    """A run that goes on after it was asked to stop."""


def outcome(argv: list[str]) -> Outcome:
    """Run node-run on a command line in this process, in the current folder."""
    here, begun, alarms = Path.cwd(), time.monotonic(), []
    argv0, environ = list(sys.argv), dict(os.environ)
    text = io.StringIO()

    def alarm(number: int, frame: object) -> None:
        alarms.append(number)
        if len(alarms) > 1:
            raise Hang
        signal.alarm(SECONDS)
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGALRM, alarm)
    signal.alarm(SECONDS)
    try:
        with redirect_stdout(text), redirect_stderr(text):
            sys.argv = ["node-run"]
            cli.main(argv)
        code: object = "no exit"
    except SystemExit as ended:
        code = ended.code
    except Hang:
        code = "hang"
    except BaseException as error:
        import traceback

        text.write("".join(traceback.format_exception(error)))
        code = f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        os.chdir(here)
        sys.argv = argv0
        os.environ.clear()
        os.environ.update(environ)
    return Outcome(argv, code, time.monotonic() - begun, bool(alarms), text.getvalue())


def main() -> None:
    count, *only = map(int, sys.argv[1:] or ["1000"])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    codes: Counter[object] = Counter()
    faults, longest = 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["NODE_RUNNER_DATA"] = "nowhere"
        for number in only or range(count):
            found = outcome(configuration(number))
            codes[found.code] += 1
            longest = max(longest, found.seconds)
            last = (found.text.strip().splitlines() or [""])[-1][:160]
            if found.fault is not None or only:
                faults += found.fault is not None
                typed = " ".join(
                    text if len(text) < 80 else text[:80] + "..." for text in found.argv
                )
                print(
                    f"{number}: {found.fault}: {typed}\n    {found.text if only else last}",
                    flush=True,
                )
            elif found.stopped:
                print(f"{number}: stopped after {SECONDS} s", flush=True)
    print(f"{sum(codes.values())} configurations, {faults} faults, the longest {longest:.0f} s")
    print(", ".join(f"exit code {code}: {n}" for code, n in codes.most_common()))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
