"""node-run in a process of its own, forked from this one, which has torch loaded already: it spares
each of many processes the seconds of importing it, and is killed and signalled like any other.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile

import torch
from hydra.core.plugins import Plugins
from matplotlib.figure import Figure

import node_runner.data.toy
import node_runner.fields

# What a child would otherwise import itself.
import node_runner.runs.build
import node_runner.tasks.classification
import node_runner.tasks.density  # noqa: F401
from node_runner import cli

torch.optim.SGD([torch.zeros(1)], lr=1.0)  # imports the compiler
figure = Figure(layout="constrained")
figure.subplots().set_title("fonts")
figure.savefig(BytesIO())
Plugins.instance()  # looks through all that Hydra finds
gc.freeze()  # what is there by now is not looked through, and so not copied, by each child


class Forked:
    """``node-run *arguments`` in ``folder``; ``before`` is called in the child first."""

    def __init__(self, folder: Path, *arguments: str, before: Callable = lambda: None) -> None:
        self.out, self.err = TemporaryFile(), TemporaryFile()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self.run(folder, arguments, before)

    def run(self, folder: Path, arguments: tuple[str, ...], before: Callable) -> None:
        """In the child; never returns."""
        code = 1
        try:
            os.dup2(self.out.fileno(), 1)
            os.dup2(self.err.fileno(), 2)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
            sys.argv = ["node-run"]
            os.chdir(folder)
            before()
            cli.main(arguments)
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 300.0) -> Forked:
        """Until it ends; killed if that takes too long."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                self.send_signal(9)
            time.sleep(0.005)
        return self

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    @property
    def stdout(self) -> str:
        return read(self.out)

    @property
    def stderr(self) -> str:
        return read(self.err)


def read(file) -> str:
    file.seek(0)
    return file.read().decode()


def node_run(folder: Path, *arguments: str, **options) -> Forked:
    """Run to the end."""
    return Forked(folder, *arguments, **options).wait()
