"""Published figures: whole, sourced, and each experiment is of one of them."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from node_runner.report.published import SURE, cells, load
from node_runner.runs import config, schema

config.register()
EXPERIMENTS = sorted(
    file.name.removesuffix(".yaml") for file in (config.FOLDER / "experiment").glob("*.yaml")
)


@pytest.mark.parametrize("cell", cells().values(), ids=cells())
def test_a_cell_is_a_number_with_its_source(cell):
    assert isinstance(cell.value, (int, float))
    assert cell.label and cell.metric.startswith("test/") and cell.factor > 0
    assert {cell.sure, cell.hours_sure, cell.other_methods_sure} <= set(SURE)
    assert cell.sd is None or 0 < cell.sd < abs(cell.value)
    assert cell.budget is None or (cell.budget.sure in SURE and spent(cell.budget))
    for value in cell.other_methods.values():
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


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_its_cell_of_a_table(name):
    """It names the cell, trains as long, and has a net of that size; papers round: 0.22M may be
    232,970.
    """
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        composed = compose("config", [f"experiment={name}"])
    schema.check(composed)
    assert composed.cell == name
    cell = cells()[name]
    if cell.budget is not None and cell.budget.epochs is not None:
        assert composed.trainer.max_epochs == cell.budget.epochs
    if cell.parameters is not None:
        model = instantiate(composed.model, _convert_="all")
        own = sum(p.numel() for p in model.parameters())
        assert own == pytest.approx(cell.parameters, rel=0.07)
