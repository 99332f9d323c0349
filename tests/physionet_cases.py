"""Small archives of records as PhysioNet has them."""

import gzip
import io
import tarfile

import numpy as np
import torch

from node_runner.data.physionet import PhysioNet

CPU = torch.device("cpu")
HEADER = "Time,Parameter,Value"
# One value of each feature, so that each can be scaled.
ALL = (
    *("Age", "Gender", "Height", "ICUType", "Weight", "Albumin", "ALP", "ALT", "AST", "Bilirubin"),
    *("BUN", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS", "Glucose", "HCO3", "HCT", "HR"),
    *("K", "Lactate", "Mg", "MAP", "MechVent", "Na", "NIDiasABP", "NIMAP", "NISysABP", "PaCO2"),
    *("PaO2", "pH", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT"),
    *("Urine", "WBC"),
)


def record(number, *rows, times=("00:00", "07:30", "47:59"), seed=0):
    """Text of a record: every feature at each of these times, or the rows given."""
    draw = np.random.default_rng([number, seed])
    if not rows:
        rows = [f"{time},{name},{draw.normal():.6f}" for time in times for name in ALL]
    return "\n".join((HEADER, f"00:00,RecordID,{number}", *rows)) + "\n"


def records(numbers, **options):
    return {number: record(number, **options) for number in numbers}


def archive(texts, folder="set-a", end=".txt"):
    """Bytes of a .tar.gz that holds the texts by number."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as packed:
        for number, text in texts.items():
            member = tarfile.TarInfo(f"{folder}/{number}{end}")
            data = text if isinstance(text, bytes) else text.encode()
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return gzip.compress(content.getvalue(), 1)


def outcomes(deaths):
    """Text of an outcome file."""
    head = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"
    return "\n".join((head, *(f"{n},6,1,5,-1,{death}" for n, death in deaths.items()))) + "\n"


def placed(root, texts, deaths=None, letter="a"):
    """The files of a set under a root, which is given back."""
    folder = root / "physionet" / "PhysioNet" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"set-{letter}.tar.gz").write_bytes(archive(texts, f"set-{letter}"))
    deaths = dict.fromkeys(texts, 0) if deaths is None else deaths
    (folder / f"Outcomes-{letter}.txt").write_text(outcomes(deaths))
    return root


def built(root, seed=0, sets="a", batch_size=2, **options):
    return PhysioNet(seed, CPU, str(root), sets, batch_size=batch_size, **options)


def splits(data):
    """The batch of each split, whole."""
    every = {name: torch.arange(size) for name, size in data.sizes.items()}
    return {name: data.batch(name, chosen) for name, chosen in every.items()}
