"""An isolation forest as plain arrays, scored for a whole fleet in a few numpy passes.

scikit-learn fits it. Its trees are copied out into heap order, so a baseline is arrays and
never a pickle, and every row goes down every tree at once. Scores equal scikit-learn's
`score_samples` with the sign turned: larger is stranger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

Floats = NDArray[np.float64]

TREES = 100
SAMPLES = 256
"""Rows a tree sees; its depth is then at most 8, and a heap of 511 nodes holds it."""
_LEAF = -1


@dataclass(frozen=True, slots=True)
class Forest:
    """feature (trees, nodes), −1 at leaves; threshold, length (trees, nodes); in heap order.

    length: path length credited at a leaf, its depth and the usual depth of what it holds.
    normal: the path length of an ordinary row.
    """

    feature: NDArray[np.int16]
    threshold: Floats
    length: NDArray[np.float32]
    normal: float

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        return {
            f"{prefix}feature": self.feature,
            f"{prefix}threshold": self.threshold,
            f"{prefix}length": self.length,
            f"{prefix}normal": np.asarray([self.normal]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str) -> Forest:
        return cls(
            arrays[f"{prefix}feature"],
            arrays[f"{prefix}threshold"],
            arrays[f"{prefix}length"],
            float(arrays[f"{prefix}normal"][0]),
        )

    def score(self, rows: Floats) -> Floats:
        """Strangeness of each row, (N, F) → (N,), between 0 and 1."""
        seen = np.ascontiguousarray(rows, dtype=np.float32)
        number, width = seen.shape
        trees, nodes = self.feature.shape
        feature = np.where(self.feature < 0, 0, self.feature).astype(np.intp).ravel()
        threshold = np.where(self.feature < 0, np.inf, self.threshold).ravel()
        deepest = int(np.log2(nodes + 1)) - 1
        flat = seen.ravel()
        row_start = (np.arange(number, dtype=np.intp) * width)[:, None]
        tree_start = (np.arange(trees, dtype=np.intp) * nodes)[None, :]
        # A leaf sends everything left, and the length of a leaf is copied down its left spine.
        node = np.zeros((number, trees), dtype=np.intp)
        for _ in range(deepest):
            at = tree_start + node
            right = flat[row_start + feature[at]] > threshold[at]
            node = 2 * node + 1 + right
        depth = self.length.ravel()[tree_start + node].sum(axis=1, dtype=np.float64) / trees
        strange: Floats = np.exp2(-depth / self.normal)
        return strange


def grow(rows: Floats, seed: int = 20_240_229, trees: int = TREES) -> Forest:
    """Fit on (N, F). The seed is fixed: the same history gives the same forest."""
    fitted = IsolationForest(
        n_estimators=trees, max_samples=min(SAMPLES, len(rows)), random_state=seed
    ).fit(np.asarray(rows, dtype=np.float32))
    usual = _usual_depth(np.asarray([fitted.max_samples_], dtype=np.float64))[0]
    heaps = [_heap(estimator.tree_) for estimator in fitted.estimators_]
    deepest = max(depth for *_, depth in heaps)
    nodes = 2 ** (deepest + 1) - 1
    feature = np.full((trees, nodes), _LEAF, dtype=np.int16)
    threshold = np.zeros((trees, nodes))
    length = np.zeros((trees, nodes), dtype=np.float32)
    for k, (features, thresholds, lengths, _) in enumerate(heaps):
        for place, which in features.items():
            feature[k, place], threshold[k, place] = which, thresholds[place]
        for place, credit in lengths.items():
            down = place
            while down < nodes:
                length[k, down] = credit
                down = 2 * down + 1
    return Forest(feature, threshold, length, float(usual))


def _heap(tree: Any) -> tuple[dict[int, int], dict[int, float], dict[int, float], int]:
    """One sklearn tree in heap order: feature and threshold of splits, length of leaves."""
    features: dict[int, int] = {}
    thresholds: dict[int, float] = {}
    lengths: dict[int, float] = {}
    usual = _usual_depth(tree.n_node_samples.astype(np.float64))
    deepest, stack = 0, [(0, 0, 0)]
    while stack:
        node, place, depth = stack.pop()
        deepest = max(deepest, depth)
        if tree.children_left[node] < 0:
            lengths[place] = depth + float(usual[node])
            continue
        features[place] = int(tree.feature[node])
        thresholds[place] = float(tree.threshold[node])
        stack.append((tree.children_left[node], 2 * place + 1, depth + 1))
        stack.append((tree.children_right[node], 2 * place + 2, depth + 1))
    return features, thresholds, lengths, deepest


def _usual_depth(samples: Floats) -> Floats:
    """Mean depth of an unsuccessful search in a tree of that many rows (Liu et al. 2008)."""
    n = np.maximum(samples, 2.0)
    depth = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    found: Floats = np.where(samples <= 1, 0.0, np.where(samples == 2, 1.0, depth))
    return found
