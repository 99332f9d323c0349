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
from .task import Artifacts, Data, DatasetMetric, Evaluation, PrimaryMetric, Task, TrainingStep
from .trainer import Trainer

__all__ = [
    "Abandoned",
    "CheckpointError",
    "Checkpoints",
    "Data",
    "Diverged",
    "Ending",
    "Evaluation",
    "Artifacts",
    "PrimaryMetric",
    "Interrupt",
    "Interrupted",
    "Logger",
    "DatasetMetric",
    "Runtime",
    "Schedule",
    "Status",
    "TrainingStep",
    "Summary",
    "Task",
    "Trainer",
    "TrainingState",
    "evaluate",
    "load_checkpoint",
    "save_checkpoint",
]
