"""An estimator as ONNX, and the proof that both answer alike.

Only training imports this module: scikit-learn, LightGBM, onnx and the converters together take
seconds and hundreds of megabytes, and an endpoint needs none of them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Final, Protocol, cast

import numpy as np
import numpy.typing as npt
from lightgbm import Booster
from onnx import ModelProto
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.base import BaseEstimator, is_classifier  # noqa: TID253
from sklearn.exceptions import NotFittedError  # noqa: TID253
from sklearn.pipeline import Pipeline  # noqa: TID253
from sklearn.utils.validation import check_is_fitted  # noqa: TID253

from colonnade.base.errors import RefusedError, UsageError
from colonnade.bundle import trees
from colonnade.bundle.graph import MATRIX, assemble
from colonnade.records.model import Signature

Matrix = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]

_OPSET: Final = {"": 21, "ai.onnx.ml": 3}
_OTHER_WAYS: Final = "use LightGBM or an estimator that skl2onnx supports (docs/project.md)"


class Scorer(Protocol):
    """The exported model as it will be served."""

    signature: Signature

    def score(self, feeds: dict[str, npt.NDArray[np.generic]]) -> Scores:
        """Score prepared inputs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How closely the exported scores follow the native ones.

    Attributes:
        rows: rows compared.
        difference: the largest difference; of probabilities absolute, of a regression relative.
    """

    rows: int
    difference: float


def to_onnx(estimator: object, signature: Signature) -> bytes:
    """Write a fitted estimator, with the encoding of its raw columns, as one ONNX graph.

    Args:
        estimator: a LightGBM model or `Booster`, a scikit-learn estimator or `Pipeline`, fitted on
            float32 [n, d] in feature order, categories as their index, missing = NaN.
        signature: the features, the task and the classes in the order of the probabilities.

    Returns:
        The graph's bytes: checked, and the same for the same model.

    Raises:
        UsageError: CN-EXPORT-001 (not fitted), 002 (cannot be written as ONNX), 003 (other number
            of features), 004 (other task or classes), 005 (categories that cannot be told apart).
    """
    _check_categories(signature)
    model = trees.estimator_of(estimator) if isinstance(estimator, Booster) else estimator
    _check_fitted(model)
    _check_width(model, signature)
    _check_task(model, signature)
    try:
        return assemble(_convert(model, len(signature.features)), signature)
    except Exception as error:
        raise UsageError(
            "CN-EXPORT-002",
            f"{_name(estimator)} cannot be written as ONNX: {_brief(error)}",
            _OTHER_WAYS,
        ) from error


def native_scores(estimator: object, signature: Signature, x: Matrix) -> npt.NDArray[np.float64]:
    """What the estimator itself answers, in the shape of a bundle's ``score``.

    Args:
        estimator: as given to `to_onnx`.
        signature: says which of the answers is the score.
        x: float32 [n, d].

    Returns:
        float64 [n] for binary and regression, [n, classes] for multiclass.
    """
    model = trees.estimator_of(estimator) if isinstance(estimator, Booster) else estimator
    with warnings.catch_warnings():
        # LightGBM names unnamed columns in fit and misses these names in predict.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        if signature.task == "regression":
            return np.asarray(_has(model).predict(x), dtype=np.float64)
        scores = np.asarray(_has(model).predict_proba(x), dtype=np.float64)
    return scores[:, 1] if signature.task == "binary" else scores


def check_equal(
    estimator: object, predictor: Scorer, x: Matrix, *, tolerance: float = 1e-5
) -> Agreement:
    """Compare the exported model with the native one on rows that it was not fitted on.

    A difference of probabilities is absolute. A difference of predictions is relative to the native
    prediction, or to the mean absolute prediction where that is larger (near zero every
    single-precision sum is relatively far off).

    Args:
        estimator: the native model.
        predictor: the exported one, opened as it will be served.
        x: float32 [n, d], categories as their index.
        tolerance: the largest difference that counts as equal.

    Returns:
        The rows compared and the largest difference.

    Raises:
        UsageError: CN-EXPORT-007, there are no rows to compare.
        RefusedError: CN-EXPORT-006, the difference is larger, with the number of such rows.
    """
    if len(x) == 0:
        raise UsageError(
            "CN-EXPORT-007", "no rows to compare", "give a holdout of at least one row"
        )
    signature = predictor.signature
    native = native_scores(estimator, signature, x)
    exported = predictor.score(_feeds(x, signature)).astype(np.float64)
    by_row = _differences(native, exported, relative=signature.task == "regression")
    worst, outside = float(by_row.max()), int((by_row > tolerance).sum())
    if outside:
        raise RefusedError(
            "CN-EXPORT-006",
            f"the exported {_name(estimator)} differs from the native one in {outside} of {len(x)}"
            f" rows, at most by {worst:.3g}; allowed is {tolerance:.3g}",
            _OTHER_WAYS,
        )
    return Agreement(rows=len(x), difference=worst)


def _differences(
    native: npt.NDArray[np.float64], exported: npt.NDArray[np.float64], *, relative: bool
) -> npt.NDArray[np.float64]:
    """The largest difference of each row; infinite where only one of the two is a number."""
    if native.shape != exported.shape:
        return np.full(len(native), np.inf)
    with np.errstate(invalid="ignore"):
        apart = np.abs(native - exported)
    if relative:
        size = np.abs(native)
        usual = size.mean(where=np.isfinite(size)) if np.isfinite(size).any() else 0.0
        apart /= np.maximum(np.maximum(size, usual), np.finfo(np.float32).tiny)
    alike = (native == exported) | (np.isnan(native) & np.isnan(exported))
    apart = np.where(alike, 0.0, np.nan_to_num(apart, nan=np.inf))
    return apart if apart.ndim == 1 else apart.max(axis=1)


def _feeds(x: Matrix, signature: Signature) -> dict[str, npt.NDArray[np.generic]]:
    """The raw columns that the graph turns into this matrix."""
    columns = {feature.name: x[:, i] for i, feature in enumerate(signature.features)}
    feeds: dict[str, npt.NDArray[np.generic]] = {}
    if signature.numbers:
        feeds["numbers"] = np.column_stack([columns[f.name] for f in signature.numbers])
    if signature.words:
        words = [
            [f.categories[int(code)] if code == code else "" for code in columns[f.name]]  # noqa: PLR0124 - NaN
            for f in signature.words
        ]
        feeds["words"] = np.array(words, dtype=object).T
    return feeds


class _Estimator(Protocol):
    """What a fitted estimator can be asked."""

    n_features_in_: int
    classes_: npt.NDArray[np.generic]

    def predict(self, x: Matrix) -> npt.ArrayLike: ...

    def predict_proba(self, x: Matrix) -> npt.ArrayLike: ...


def _has(estimator: object) -> _Estimator:
    """The same object; what it lacks was refused before by `to_onnx`."""
    return cast("_Estimator", estimator)


def _convert(model: object, width: int) -> ModelProto:
    """Run the converters, silently, on a float32 matrix of this width."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cast(
            "ModelProto",
            convert_sklearn(
                model,
                "model",
                [(MATRIX, FloatTensorType([None, width]))],
                target_opset=_OPSET,
                custom_conversion_functions=trees.converters(),
                options={id(last): {"zipmap": False}} if is_classifier(model) else None,
            ),
        )


def _check_fitted(model: object) -> None:
    if not isinstance(model, BaseEstimator):
        raise UsageError(
            "CN-EXPORT-002",
            f"{_name(model)} is neither a LightGBM nor a scikit-learn estimator",
            _OTHER_WAYS,
        )
    if isinstance(model, trees.BoosterClassifier | trees.BoosterRegressor):
        return  # a booster comes out of training
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise UsageError(
            "CN-EXPORT-001", f"{_name(model)} is not fitted", "return estimator.fit(X, y)"
        ) from error


def _check_width(model: object, signature: Signature) -> None:
    width = getattr(model, "n_features_in_", None)
    if width != len(signature.features):
        raise UsageError(
            "CN-EXPORT-003",
            f"{_name(model)} was fitted on {width} features;"
            f" the model declares {len(signature.features)}",
            "fit on the whole of TrainingSet.X; choose columns by features= of the declaration",
        )


def _check_task(model: object, signature: Signature) -> None:
    """The estimator answers what the signature promises."""
    if signature.task == "regression":
        if is_classifier(model):
            raise _other_task(model, "a classifier", "a regression")
        return
    if not hasattr(model, "predict_proba"):
        raise _other_task(model, "without predict_proba", signature.task)
    found, count = _has(model).classes_.tolist(), len(signature.classes)
    if count < 2 or (count == 2) != (signature.task == "binary"):
        raise _other_task(model, "a classifier", f"{signature.task} with {count} classes")
    if found not in (list(range(count)), list(signature.classes)):
        raise _other_task(model, f"for the classes {found[:10]}", f"0 to {count - 1}")


def _other_task(model: object, found: str, expected: str) -> UsageError:
    return UsageError(
        "CN-EXPORT-004",
        f"{_name(model)} is {found}; the signature says {expected}",
        "fit on TrainingSet.y as it is given, with an estimator that has predict_proba",
    )


def _check_categories(signature: Signature) -> None:
    for feature in signature.words:
        if "" in feature.categories or len(set(feature.categories)) < len(feature.categories):
            raise UsageError(
                "CN-EXPORT-005",
                f"feature {feature.name!r} has an empty or a repeated category",
                'write missing values as null, never as ""',
            )


def _name(model: object) -> str:
    if isinstance(model, trees.BoosterClassifier | trees.BoosterRegressor):
        return "Booster"
    if isinstance(model, Pipeline):
        return f"Pipeline ending in {type(model.steps[-1][1]).__name__}"
    return type(model).__name__


def _brief(error: Exception) -> str:
    """The first line of a converter's message, which can be as long as the model."""
    first = (str(error).splitlines() or [""])[0]
    return (first[:200] or type(error).__name__).rstrip(".")
