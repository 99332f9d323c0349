"""The trainer and what it asks of a task and of data. Knows no ODE."""

from .checkpoint import load_checkpoint, save_checkpoint
from .logger import Logger
from .runtime import Runtime
from .task import Data, Evaluation, Exhibit, Headline, Step, Task
from .trainer import Diverged, Trainer

__all__ = [
    "Data",
    "Diverged",
    "Evaluation",
    "Exhibit",
    "Headline",
    "Logger",
    "Runtime",
    "Step",
    "Task",
    "Trainer",
    "load_checkpoint",
    "save_checkpoint",
]
