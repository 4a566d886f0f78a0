"""Learn who likes what from who took what, and write it as one ONNX file that answers with the best items of a user.

    python train.py

Needs numpy and onnx. The visits are made up, with tastes in them that the model has to find: replace `visits` by your own.
Factors are learned by alternating least squares for implicit feedback (Hu, Koren and Volinsky, 2008).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save_model

HERE = Path(__file__).resolve().parent
USERS, ITEMS, FACTORS, BEST = 2000, 600, 16, 100
GENRES = ("crime", "history", "science", "travel", "poetry", "comics", "cooking", "chess")


def visits(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Who took what [users, items], and one more item that each of them took [users], held back to test with."""
    genre = np.arange(ITEMS) % len(GENRES)
    tastes = random.dirichlet(np.full(len(GENRES), 0.25), USERS)
    popularity = random.pareto(1.5, ITEMS) + 0.2
    chances = tastes[:, genre] * popularity
    chances /= chances.sum(axis=1, keepdims=True)
    taken = np.zeros((USERS, ITEMS), np.float32)
    held = np.zeros(USERS, np.int64)
    for user in range(USERS):
        items = random.choice(ITEMS, 21, replace=False, p=chances[user])
        taken[user, items[:-1]] = 1
        held[user] = items[-1]
    return taken, held


def learn(taken: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Factors of users [users, factors] and items [items, factors], whose products say who likes what."""
    users = random.normal(0, 0.1, (USERS, FACTORS))
    items = random.normal(0, 0.1, (ITEMS, FACTORS))
    for _ in range(8):
        users = solved(taken, items)
        items = solved(taken.T, users)
    return users.astype(np.float32), items.astype(np.float32)


def solved(taken: np.ndarray, others: np.ndarray, weight: float = 20.0, ridge: float = 5.0) -> np.ndarray:
    """Factors of the rows of `taken`, given those of its columns. What was taken counts `1 + weight` times."""
    common = others.T @ others + ridge * np.eye(FACTORS)
    found = np.empty((len(taken), FACTORS))
    for row, of_row in enumerate(taken):
        chosen = others[of_row > 0]
        found[row] = np.linalg.solve(common + weight * chosen.T @ chosen, (1 + weight) * chosen.sum(axis=0))
    return found


def write(users: np.ndarray, items: np.ndarray, taken: np.ndarray) -> None:
    """`user` int64 [n] → the best `items` int64 [n, 100] with their `scores` float32 [n, 100], those taken already last."""
    known = np.where(taken > 0, np.float32(-10), np.float32(0))
    nodes = [
        helper.make_node("Gather", ["users", "user"], ["factors"]),
        helper.make_node("MatMul", ["factors", "items_by_factor"], ["liking"]),
        # Bytes of one bit each would do; a catalogue of millions wants a filter in the service instead.
        helper.make_node("Gather", ["known", "user"], ["of_user"]),
        helper.make_node("Cast", ["of_user"], ["penalty"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["liking", "penalty"], ["all_scores"]),
        helper.make_node("TopK", ["all_scores", "best"], ["scores", "items"]),
    ]
    constants = {
        "users": users,
        "items_by_factor": np.ascontiguousarray(items.T),
        "known": known.astype(np.int8),
        "best": np.array([BEST], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "recommender",
        [helper.make_tensor_value_info("user", TensorProto.INT64, ["n"])],
        [
            helper.make_tensor_value_info("items", TensorProto.INT64, ["n", BEST]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", BEST]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    checker.check_model(model, full_check=True)
    save_model(model, HERE / "recommender.onnx")
    titles = [f"{GENRES[item % len(GENRES)]} {item // len(GENRES) + 1}" for item in range(ITEMS)]
    (HERE / "catalogue.json").write_text(json.dumps({"users": USERS, "titles": titles}), "utf-8")


def main() -> None:
    """Learn, test, and write if it is better than showing everybody the same."""
    random = np.random.default_rng(7)
    taken, held = visits(random)
    users, items = learn(taken, random)
    everyone = np.arange(USERS)
    found = {
        "this model": hits(users @ items.T - 10 * taken, held),
        "what most people take": hits(taken.sum(axis=0)[None].repeat(USERS, 0) - 1e6 * taken, held),
    }
    for name, share in found.items():
        print(f"{name}: the held-back item is among the best 10 of {share:.0%} of {len(everyone)} users")
    assert found["this model"] > 1.5 * found["what most people take"]
    write(users, items, taken)


def hits(scores: np.ndarray, held: np.ndarray) -> float:
    """For how many users the held-back item is among the ten best."""
    best = np.argpartition(-scores, 10, axis=1)[:, :10]
    return float((best == held[:, None]).any(axis=1).mean())


if __name__ == "__main__":
    main()
