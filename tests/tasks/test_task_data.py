"""Every kind of task with every kind of data: it runs, or it is refused in a line that says what to
choose.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from node_runner.data.csv import Csv
from node_runner.data.events import EventData
from node_runner.data.noise import Noise
from node_runner.data.npy import Npy
from node_runner.data.npy_pixels import NpyPixels
from node_runner.data.periodic import Periodic
from node_runner.data.spirals import Spirals
from node_runner.data.toy import Toy
from node_runner.data.trajectory import Simulated
from node_runner.runs import config

config.register()
CPU = torch.device("cpu")
FEW = {"batch_size": 4, "test_size": 4, "validation_size": 4}
TASKS = {  # of each class, with a model of the shape that data sets here have
    "ffjord_toy": ["model.field.hidden=[8]", "tol=1e-2"],
    "cnf_density": ["tol=1e-2"],
    "ffjord_power": ["model.dim=2", "model.field.hidden=[8]", "model.flows=1", "tol=1e-2"],
    "ffjord_mnist": ["model.shape=[1,8,8]", "solver=euler", "solver.step_size=1", "tol=1e-1"],
    "odenet_mnist": ["model=mlp"],
    "latent_periodic": ["series.dim=2", "series.ode_hidden=[8]", "series.cell_ode_hidden=[8]"],
    "latent_activity": ["series.dim=2", "series.ode_hidden=[8]", "series.cell_ode_hidden=[8]"],
    "latent_mortality": ["series.dim=2", "series.ode_hidden=[8]", "series.cell_ode_hidden=[8]"],
    "poisson_events": [],
    "trajectory": ["task.field.hidden=[8]"],
}
FITS = {
    "ffjord_toy": {"toy", "noise", "npy"},
    "cnf_density": {"noise"},
    "ffjord_power": {"toy", "noise", "npy"},
    "ffjord_mnist": {"npy_pixels"},
    "odenet_mnist": {"labelled"},
    "latent_periodic": {"spirals", "csv", "trajectory"},
    "latent_activity": set(),
    "latent_mortality": set(),
    "poisson_events": {"events"},
    "trajectory": {"csv", "trajectory"},
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """One data set of each kind, most of them of shape (2,)."""
    folder = tmp_path_factory.mktemp("sets")
    draw = np.random.default_rng(0)
    for name in ("train", "val", "test"):
        np.save(folder / f"{name}.npy", draw.normal(size=(8, 2)))
        (folder / "pixels").mkdir(exist_ok=True)
        np.save(folder / "pixels" / f"{name}.npy", draw.integers(0, 255, (8, 8, 8), dtype=np.uint8))
    (folder / "own.csv").write_text(
        "t,x,y\n" + "".join(f"{i},{i % 5},{i % 3}\n" for i in range(20))
    )
    batch = (torch.rand(4, 1, 28, 28), torch.arange(4))
    labelled = SimpleNamespace(
        **{"name": "labelled", "shape": (1, 28, 28), "classes": 10, "steps_per_epoch": 1},
        train_batch=lambda step: batch,
        batches=lambda split: iter([batch]),
    )
    return {
        "toy": Toy(0, CPU, **FEW),
        "noise": Noise(0, CPU, **FEW),
        "npy": Npy(0, CPU, str(folder), 4),
        "npy_pixels": NpyPixels(0, CPU, str(folder / "pixels"), 4, 4),
        "csv": Csv(0, CPU, str(folder / "own.csv")),
        "trajectory": Simulated(0, CPU, observations=10),
        "spirals": Spirals(0, CPU, **FEW, train_size=4),
        "periodic": Periodic(0, CPU, **FEW, train_size=4),
        "events": EventData(0, CPU, **FEW, train_size=4),
        "labelled": labelled,
    }


@pytest.mark.parametrize("name", TASKS)
def test_a_task_runs_with_data_of_its_kind_and_refuses_others_in_a_line(name, sets):
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        node = compose("config", [f"task={name}", *TASKS[name]]).task
    fits = set()
    for kind, data in sets.items():
        task = instantiate(node, _convert_="all")
        try:
            task.bind(data)
        except ValueError as error:
            message = str(error)
            assert "\n" not in message
            remedies = ("choose", "set ", "leave out", "=trajectory")
            assert any(remedy in message for remedy in remedies), message
            continue
        fits.add(kind)
        assert task.step(data.train_batch(0)).loss.isfinite()
        with torch.no_grad():
            found = task.evaluate(next(iter(data.batches("test"))), "test")
        assert task.primary_metric.metric in found.values
    assert fits == FITS[name]
