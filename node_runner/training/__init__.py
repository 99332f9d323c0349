"""Training loop, checkpoints and logs, for any task and any data; independent of ODEs."""

from .abandon import Abandoned
from .checkpoint import CheckpointError, Checkpoints, load_checkpoint, save_checkpoint
from .interrupt import Interrupt, Interrupted
from .logger import Logger
from .metrics import Summary, evaluate
from .progress import Status
from .runtime import Runtime
from .schedule import Schedule
from .state import TrainingState
from .stop import Diverged, Ending
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
