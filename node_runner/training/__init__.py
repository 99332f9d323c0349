"""The trainer and what it asks of a task and of data. Knows no ODE."""

from .checkpoint import CheckpointError, Checkpoints, load_checkpoint, save_checkpoint
from .interrupt import Interrupt, Interrupted
from .logger import Logger
from .metrics import Summary, evaluate
from .runtime import Runtime
from .schedule import Schedule
from .state import TrainingState
from .task import Data, Evaluation, Exhibit, Headline, Step, Task
from .trainer import Diverged, Trainer

__all__ = [
    "CheckpointError",
    "Checkpoints",
    "Data",
    "Diverged",
    "Evaluation",
    "Exhibit",
    "Headline",
    "Interrupt",
    "Interrupted",
    "Logger",
    "Runtime",
    "Schedule",
    "Step",
    "Summary",
    "Task",
    "Trainer",
    "TrainingState",
    "evaluate",
    "load_checkpoint",
    "save_checkpoint",
]
