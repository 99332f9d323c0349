"""Published figures: whole, sourced, and each experiment is of one of them."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from node_runner import config, schema
from node_runner.report.published import SURE, cells, load

config.register()
EXPERIMENTS = sorted(
    file.name.removesuffix(".yaml") for file in (config.FOLDER / "experiment").glob("*.yaml")
)


@pytest.fixture(params=EXPERIMENTS)
def experiment(request):
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        return request.param, compose("config", [f"experiment={request.param}"])


@pytest.mark.parametrize("cell", cells().values(), ids=cells())
def test_a_cell_is_a_number_with_its_source(cell):
    assert isinstance(cell.value, (int, float))
    assert cell.label and cell.metric.startswith("test/") and cell.factor > 0
    assert {cell.sure, cell.hours_sure, cell.beside_sure} <= set(SURE)
    assert cell.sd is None or 0 < cell.sd < abs(cell.value)
    assert cell.budget is None or (cell.budget.sure in SURE and spent(cell.budget))
    for value in cell.beside.values():
        numbers = value if isinstance(value, list) else [value]
        assert all(isinstance(number, (int, float)) for number in numbers)
        assert len(numbers) <= 2


def spent(budget):
    return [name for name in ("epochs", "steps") if getattr(budget, name) is not None]


def test_every_paper_has_its_reference_and_every_table_its_protocol():
    assert list(load()) == ["node", "ffjord", "rnode", "latent"]
    for tables in load().values():
        for table in tables:
            assert "arXiv" in table.reference
            assert table.title and table.source and table.protocol and table.cells
            assert len({cell.label for cell in table.cells}) == len(table.cells)


def test_an_experiment_is_named_by_its_cell_and_the_cell_is_published(experiment):
    name, composed = experiment
    schema.check(composed)
    assert composed.cell == name
    assert name in cells()


def test_an_experiment_trains_as_long_as_was_published(experiment):
    name, composed = experiment
    budget = cells()[name].budget
    if budget is not None and budget.epochs is not None:
        assert composed.trainer.max_epochs == budget.epochs


def test_an_experiment_has_the_published_net(experiment):
    """Papers round: 0.22M may be 232,970."""
    name, composed = experiment
    if cells()[name].parameters is not None:
        model = instantiate(composed.model, _convert_="all")
        own = sum(p.numel() for p in model.parameters())
        assert own == pytest.approx(cells()[name].parameters, rel=0.07)
