"""Mistakes with files of series: one line on standard error, exit code 2, nothing left behind."""

import pytest
from forked import node_run
from physionet_cases import placed, record, records

RAW = "physionet/PhysioNet/raw"


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Runs node-run in an empty folder, its data beside it, and returns its line of complaint."""
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("NODE_RUNNER_DATA", str(tmp_path / "data"))

    def run(*arguments):
        ended = node_run(tmp_path / "here", *arguments)
        assert ended.returncode == 2, ended.stderr
        assert "Traceback" not in ended.stdout + ended.stderr
        (line,) = ended.stderr.strip().splitlines()
        assert not list((tmp_path / "here").rglob("*.pt"))
        assert not list((tmp_path / "here").rglob("result.json"))
        return line

    return run


def test_a_wrong_row_of_a_record_is_told(told, tmp_path):
    bad = record(7, "00:00,Age,60", "01:00,HR,fast")
    placed(tmp_path / "data", records(range(1, 12)) | {7: bad})
    line = told("task=latent_mortality")
    archive = tmp_path / "data" / RAW / "set-a.tar.gz"
    assert f"{archive}: set-a/7.txt, line 4, column Value: 'fast' is no finite number" in line


def test_a_batch_larger_than_the_training_set_is_told(told, tmp_path):
    placed(tmp_path / "data", records(range(1, 12)))
    assert "data.batch_size is 50, must be 1 to 8" in told("task=latent_mortality")


PHYSIONET = ("set-a.tar.gz or Outcomes-a.txt", RAW, "physionet.org/content/challenge-2012")
ACTIVITY = ("ConfLongDemo_JSI.txt", "PersonActivity/PersonActivity/raw", "uci.edu/dataset/196")
ABSENT = [
    ("train", "physionet", *PHYSIONET),
    ("fetch", "physionet", *PHYSIONET),
    ("fetch", "mortality", *PHYSIONET),
    ("fetch", "activity", *ACTIVITY),
    ("fetch", "hopper", "training.pt", "HopperPhysics", "HopperPhysics/training.pt"),
]


@pytest.mark.parametrize(("mode", "task", "file", "folder", "source"), ABSENT)
def test_absent_files_are_named_with_where_to_place_them(
    mode, task, file, folder, source, told, tmp_path
):
    line = told(f"mode={mode}", f"task=latent_{task}")
    assert f"{tmp_path / 'data' / folder} lacks {file}; place it there, from http" in line
    assert source in line and "NODE_RUNNER_DATA" in line


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("task=latent_mortality data.sets=c", "data.sets is 'c', must be one of ab, a"),
        ("task=latent_hopper data.task=interpolate", "data.task is 'interpolate', must be one of"),
        ("task=latent_mortality task.weight=0", "task.weight is 0, must be positive"),
        ("task=latent_activity data.window=0", "data.window is 0, must be"),
    ],
)
def test_an_impossible_value_is_refused_by_name(typed, message, told, tmp_path):
    placed(tmp_path / "data", records(range(1, 12)))
    assert message in told(*typed.split(), *["data.batch_size=2"])


def test_a_set_of_series_is_fetched_where_its_files_are(tmp_path, monkeypatch):
    monkeypatch.setenv("NODE_RUNNER_DATA", str(placed(tmp_path / "data", records(range(1, 12)))))
    ended = node_run(tmp_path, "mode=fetch", "task=latent_mortality", "data.batch_size=2")
    assert ended.returncode == 0, ended.stderr
    assert "physionet (set a, 11 records, by training range): 8 train, 1 val" in ended.stdout


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("model=point_process", "model is a PointProcess, must be a SeriesModel"),
        ("data=events", "no series to predict"),
    ],
)
def test_what_is_of_events_is_refused_where_series_are_asked_for(told, typed, said):
    assert said in told("task=latent_periodic", "data.batch_size=10", typed)
