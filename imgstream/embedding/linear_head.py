"""A linear head on features: multinomial logistic regression whose L2 strength is chosen on validation images. NumPy and SciPy only."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from imgstream.errors import DatasetError, ModelError

STRENGTHS = (10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4)
"""The L2 strengths that are tried, from strong to weak; each fit starts where the one before it ended."""
_WORSE = 2  # weaker ones in a row after which none is tried: validation only gets worse, and the weakest take the most time
_CHUNK_NUMBERS = 1 << 22  # numbers of the features that are looked at together: 32 MB in float64
# Products up to about this size OpenBLAS leaves to one thread. Larger ones wait for all threads: with few classes that costs more than it
# brings, and on a machine that has other work to do eight times as much. So chunks are small where that gives _FEWEST rows or more.
_ONE_THREAD, _FEWEST = 1 << 19, 32
_ITERATIONS, _GRADIENT, _GAIN = 300, 1e-4, 1e-7
_SMALLEST_SHARE = 1e-6  # of the images that are not of a class
_SMALLEST_DEVIATION = 1e-6  # relative to the mean: less is rounding of a constant


@dataclasses.dataclass(frozen=True, eq=False)  # eq: comparing arrays has no single answer
class LinearHead:
    """The weights of a last Dense layer: logits = features @ kernel + bias."""

    kernel: np.ndarray
    """float32 (D, K), for features as they are: their standardization is folded in."""
    bias: np.ndarray
    """float32 (K,)."""
    l2: float
    """The strength that was chosen of STRENGTHS: l2 / 2 × the squared kernel of standardized features is added to the mean
    cross-entropy.
    """
    accuracy: float
    """On validation, 0 to 1."""
    loss: float
    """Mean cross-entropy on validation, in nats."""

    def logits(self, features: np.ndarray) -> np.ndarray:
        """float32 (n, D) → float32 (n, K)."""
        return np.asarray(features, np.float32) @ self.kernel + self.bias


def fit_head(
    features: np.ndarray,
    labels: np.ndarray,
    class_count: int,
    *,
    validation: tuple[np.ndarray, np.ndarray],
    sample_weight: np.ndarray | None = None,
    strengths: Sequence[float] = STRENGTHS,
    multi_label: bool = False,
) -> LinearHead:
    """Fit the linear head with the least mean cross-entropy on `features`, with the L2 strength that is best on `validation`.

    `features`: float32 (n, D), which may be mapped: a chunk of it is held at a time. `labels`: integer (n,), 0 to class_count - 1, or float
    (n, class_count), shares that sum to 1; with `multi_label` each is 0 or 1, and each class a
    logistic regression of its own. `validation`: features and labels of other images. `sample_weight`: float (n,), 0 or more. The same
    input gives the same head. A class without an image gets a zero kernel and a bias of less than half an image's worth.

    Raises DatasetError when there is nothing to learn from or to validate on, ModelError when features are not finite, ValueError for
    arrays that do not fit together.
    """
    train = _Rows("training", features, labels, class_count, sample_weight)
    held_out = _Rows("validation", *validation, class_count, None)
    if held_out.features.shape[1] != train.features.shape[1]:
        raise ValueError(f"training has {train.features.shape[1]} features an image and validation {held_out.features.shape[1]}")
    if not strengths:
        raise ValueError("strengths must name at least one strength of L2")
    problem = _Problem(train, multi_label=multi_label)
    solution, best, worse = problem.start(), None, 0
    for l2 in sorted(strengths, reverse=True):
        solution = problem.solve(solution, float(l2))
        kernel, bias = problem.folded(solution)
        loss, accuracy = _measure(kernel, bias, held_out, multi_label=multi_label)
        if best is None or loss < best.loss:
            best, worse = LinearHead(kernel, bias, float(l2), accuracy, loss), 0
        elif (worse := worse + 1) == _WORSE:
            break
    assert best is not None
    return best


class _Rows:
    """Features with their targets, checked."""

    def __init__(self, part: str, features: np.ndarray, labels: np.ndarray, class_count: int, weights: np.ndarray | None) -> None:
        self.features, self.labels, self.class_count = features, np.asarray(labels), class_count
        n = len(features)
        if features.ndim != 2 or features.shape[1] < 1:
            raise ValueError(f"features of {part} must be (n, D); got shape {features.shape}")
        if not n:
            raise DatasetError(f"there is no image for {part}: a head needs some to learn from and others to be validated on")
        self.soft = self.labels.ndim == 2
        if self.labels.shape != ((n, class_count) if self.soft else (n,)) or (not self.soft and self.labels.dtype.kind not in "iu"):
            raise ValueError(
                f"labels of {part} must be integer ({n},) or float ({n}, {class_count}); got {self.labels.dtype} {self.labels.shape}"
            )
        if not self.soft and not 0 <= self.labels.min() <= self.labels.max() < class_count:
            raise ValueError(f"labels of {part} must be 0 to {class_count - 1}; got {self.labels.min()} to {self.labels.max()}")
        if weights is not None and np.shape(weights) != (n,):
            raise ValueError(f"sample_weight must be ({n},), one an image; got shape {np.shape(weights)}")
        given = np.ones(n) if weights is None else np.asarray(weights, np.float64)
        total = given.sum()
        if not np.isfinite(total) or (given < 0).any() or total <= 0:
            raise DatasetError("sample weights must be 0 or more, and not all 0")
        self.weights = given / total
        """float64 (n,), which sum to 1."""

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(features float64 (m, D), targets float64 (m, K), weights float64 (m,)), some rows at a time."""
        dimensions = self.features.shape[1]
        step = _ONE_THREAD // (dimensions * self.class_count)
        if step < _FEWEST:
            step = max(1, _CHUNK_NUMBERS // max(dimensions, self.class_count))
        for start in range(0, len(self.features), step):
            part = slice(start, start + step)
            labels = self.labels[part]
            if self.soft:
                targets = labels.astype(np.float64)
            else:
                targets = np.zeros((len(labels), self.class_count))
                targets[np.arange(len(labels)), labels] = 1
            yield self.features[part].astype(np.float64), targets, self.weights[part]


class _Problem:
    """Cross-entropy of the training rows as a function of the kernel of standardized features and the bias, of the classes that occur."""

    def __init__(self, rows: _Rows, *, multi_label: bool) -> None:
        self._rows, self._multi_label = rows, multi_label
        dimensions = rows.features.shape[1]
        self._mean, self._mass = np.zeros(dimensions), np.zeros(rows.class_count)
        for x, targets, weights in rows.chunks():
            self._mean += weights @ x
            self._mass += weights @ targets
        if not np.isfinite(self._mean).all():
            raise ModelError("features hold values that are no numbers: the model that computed them has diverged")
        variance = np.zeros(dimensions)
        for x, _, weights in rows.chunks():
            variance += weights @ (x - self._mean) ** 2
        deviation = np.sqrt(variance)
        # A feature that is the same for all images is divided by infinity, and so has no effect.
        self._deviation = np.where(deviation > _SMALLEST_DEVIATION * np.abs(self._mean), deviation, np.inf)
        self._present = np.flatnonzero(self._mass > 0)

    def start(self) -> np.ndarray:
        """A kernel of zeros and the bias that gives each class its share: float64 (D K' + K',), K' the classes that occur."""
        kernel = np.zeros(len(self._mean) * len(self._present))
        mass = self._mass[self._present]
        return np.concatenate([kernel, np.log(mass / np.maximum(1 - mass, _SMALLEST_SHARE)) if self._multi_label else np.log(mass)])

    def solve(self, start: np.ndarray, l2: float) -> np.ndarray:
        """The minimum of the loss, found from `start`."""
        from scipy.optimize import minimize  # here: the import is not free

        options = {"maxiter": _ITERATIONS, "gtol": _GRADIENT, "ftol": _GAIN}
        return np.asarray(minimize(self._loss, start, args=(l2,), jac=True, method="L-BFGS-B", options=options).x)

    def folded(self, solution: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float32 (D, K) and (K,): for features as they are, and all classes."""
        kernel, bias = self._parts(solution)
        kernel = kernel / self._deviation[:, None]
        dimensions, classes = len(kernel), len(self._mass)
        full_kernel = np.zeros((dimensions, classes), np.float32)
        full_kernel[:, self._present] = kernel
        # The kernels of the classes that occur sum to zero, so the highest of their logits is never below the lowest bias. With several
        # labels an image, it is a logit of less than half an image's worth by itself.
        lowest = 0.0 if self._multi_label else bias.min()
        full_bias = np.full(classes, lowest + np.log(0.5 / len(self._rows.features)), np.float32)
        full_bias[self._present] = bias - self._mean @ kernel
        return full_kernel, full_bias

    def _parts(self, solution: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        classes = len(self._present)
        return solution[:-classes].reshape(-1, classes), solution[-classes:]

    def _loss(self, solution: np.ndarray, l2: float) -> tuple[float, np.ndarray]:
        """The loss and its gradient, float64 and of the solution's shape."""
        kernel, bias = self._parts(solution)
        folded = kernel / self._deviation[:, None]
        shift = bias - self._mean @ folded
        loss, by_kernel, by_bias = 0.5 * l2 * float((kernel**2).sum()), np.zeros_like(kernel), np.zeros_like(bias)
        for x, targets, weights in self._rows.chunks():
            logits = x @ folded + shift
            wanted = targets[:, self._present]
            if self._multi_label:
                softplus = np.logaddexp(0, logits)
                loss += float(weights @ (softplus - wanted * logits).sum(axis=1))
                scores = np.exp(logits - softplus)
            else:
                logits -= logits.max(axis=1, keepdims=True)
                scores = np.exp(logits)
                sums = scores.sum(axis=1)
                loss += float(weights @ (np.log(sums) - (wanted * logits).sum(axis=1)))
                scores /= sums[:, None]
            scores -= wanted
            scores *= weights[:, None]
            by_kernel += x.T @ scores
            by_bias += scores.sum(axis=0)
        by_kernel -= np.outer(self._mean, by_bias)
        by_kernel /= self._deviation[:, None]
        by_kernel += l2 * kernel
        return loss, np.concatenate([by_kernel.ravel(), by_bias])


def _measure(kernel: np.ndarray, bias: np.ndarray, rows: _Rows, *, multi_label: bool) -> tuple[float, float]:
    """Mean cross-entropy and accuracy: with several labels an image, the share of right decisions."""
    from scipy.special import log_softmax  # here: the import is not free

    loss, right = 0.0, 0.0
    for x, targets, weights in rows.chunks():
        logits = x @ kernel + bias
        if multi_label:
            loss += float(weights @ (np.logaddexp(0, logits) - targets * logits).sum(axis=1))
            right += float(((logits > 0) == (targets > 0.5)).mean(axis=1).sum())
            continue
        chances = log_softmax(logits, axis=1)
        loss -= float(weights @ (targets * chances).sum(axis=1))
        right += int((chances.argmax(axis=1) == targets.argmax(axis=1)).sum())
    if not np.isfinite(loss):
        raise ModelError("features of validation hold values that are no numbers: the model that computed them has diverged")
    return loss, right / len(rows.features)
