"""Folders of runs as node-run leaves them. test_real_runs.py compares CONTENT with a real one."""

import json
from copy import deepcopy

from node_runner.report.files import find_results, read_results

CONTENT = {
    "state": "done",
    "message": None,
    "mode": "train",
    "task": "odenet_mnist",
    "cell": None,
    "seed": 0,
    "run": None,
    "typed": ["task=odenet_mnist"],
    "options": {"task": "a", "mode": "train", "seed": 0, "data.batch_size": 128},
    "headline": {"metric": "error", "unit": "%", "factor": 100.0},
    "metrics": {
        "test/error": {"mean": 0.015, "standard_error": 0.0012, "n": 10000},
        "test/nll": {"mean": 0.05, "standard_error": 0.003, "n": 10000},
        "test/nfe": {"mean": 26.0},
        "solve/error": {"mean": 1e-3},
        "solve/nfe_forward": {"mean": 26},
        "solve/nfe_backward": {"mean": 20},
        "solve/forward_ms": {"mean": 100.0},
        "solve/backward_ms": {"mean": 300.0},
        "density/integral": {"mean": 0.999},
    },
    "training": {"nfe/forward": 26.0},
    "protocol": {
        "solver": {
            "method": "dopri5",
            "rtol": 1e-3,
            "atol": 1e-3,
            "gradient": {"_target_": "node_runner.ode.Adjoint"},
        },
        "eval_solver": {"method": "dopri5", "rtol": 1e-3, "atol": 1e-3},
        "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1},
        "weights": {"step": 400, "chosen": "the lowest validation error", "split": "validation"},
    },
    "data": {"name": "mnist", "part": "whole", "sizes": {"train": 55000, "test": 10000}},
    "parameters": 232970,
    "nfe": {"forward": 26.0, "backward": 20.0, "evaluation": 26.0},
    "memory": {"peak_mib": 800.0, "saved_mib": 56.0},
    "steps": 429 * 160,
    "epochs": 160.0,
    "wall_seconds": 7200.0,
    "device": "cpu",
    "world_size": 1,
    "global_batch": 128,
    "versions": {"torch": "2.15.0"},
    "revision": "abc",
}


def leave(folder, **changes):
    """A run's folder; a change of ``seed`` or ``options`` is one of the configuration too."""
    content = deepcopy(CONTENT) | changes
    content["options"] = {**content["options"], "seed": content["seed"]}
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(content))
    return folder


def metrics_with(error, **others):
    """The metrics of a run with this test error."""
    metrics = deepcopy(CONTENT["metrics"])
    metrics["test/error"]["mean"] = error
    return metrics | {name.replace("__", "/"): {"mean": value} for name, value in others.items()}


def evaluation(folder, tol, nfe, run="a run", seed=0, more=None, **metrics):
    """One of a sweep over tolerances."""
    protocol = deepcopy(CONTENT["protocol"])
    protocol["eval_solver"] |= {"rtol": tol, "atol": tol}
    return leave(
        folder,
        mode="evaluate",
        run=run,
        seed=seed,
        typed=["task=odenet_mnist", "mode=evaluate", f"run={run}", f"eval_tol={tol}"],
        options={**CONTENT["options"], "mode": "evaluate", "eval_tol": tol} | (more or {}),
        protocol=protocol,
        nfe={"forward": None, "backward": None, "evaluation": float(nfe)},
        metrics=metrics_with(0.015, solve__nfe_forward=nfe, solve__nfe_backward=nfe, **metrics),
    )


def curve(folder, tags, points):
    """metrics.jsonl: values of the tags at steps 10, 20, ..."""
    lines = [
        json.dumps({"step": 10 * (i + 1), **dict(zip(tags, values, strict=True))})
        for i, values in enumerate(points)
    ]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 99, "cut of']))
    return folder


def odenet(**changes):
    """What makes a run the ODE-Net of Chen et al. 2018, table 1."""
    return {"cell": "node.table1.odenet", "typed": ["experiment=node.table1.odenet"], **changes}


def results_in(*folders):
    """The results below folders, none of which may be complained of."""

    def complain(line):
        raise AssertionError(line)

    return read_results(find_results(map(str, folders), complain), complain)[0]
