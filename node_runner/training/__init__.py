"""The trainer and what it asks of a task and of data. Knows no ODE."""

from .abandon import Abandoned
from .bar import Status
from .checkpoint import CheckpointError, Checkpoints, load_checkpoint, save_checkpoint
from .ending import Diverged, Ending
from .interrupt import Interrupt, Interrupted
from .logger import Logger
from .metrics import Summary, evaluate
from .runtime import Runtime
from .schedule import Schedule
from .state import TrainingState
from .task import Data, Evaluation, Exhibit, Headline, Pooled, Step, Task
from .trainer import Trainer

__all__ = [
    "Abandoned",
    "CheckpointError",
    "Checkpoints",
    "Data",
    "Diverged",
    "Ending",
    "Evaluation",
    "Exhibit",
    "Headline",
    "Interrupt",
    "Interrupted",
    "Logger",
    "Pooled",
    "Runtime",
    "Schedule",
    "Status",
    "Step",
    "Summary",
    "Task",
    "Trainer",
    "TrainingState",
    "evaluate",
    "load_checkpoint",
    "save_checkpoint",
]
