"""Tree ensembles in ONNX that split exactly where the library splits.

The converters write a tree's double thresholds into ONNX's single-precision ``nodes_values`` by
rounding to nearest. A row whose value is the rounded threshold then goes left where LightGBM and
scikit-learn send it right. Rounded *down* instead, ``float32(x) <= t`` holds for exactly the same
``x``. scikit-learn's forests also lose the branch that a missing value takes, and its histogram
trees cannot be written at all by current onnx (numpy scalars as attributes).

Each mend is applied while the converter runs, where the doubles still exist: the converter is
given a container that corrects the attributes of every tree node before it is added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from lightgbm import Booster, LGBMClassifier, LGBMRegressor
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from skl2onnx import update_registered_converter
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from skl2onnx.operator_converters.decision_tree import (
    convert_sklearn_decision_tree_classifier,
    convert_sklearn_decision_tree_regressor,
)
from skl2onnx.operator_converters.random_forest import (
    convert_sklearn_random_forest_classifier,
    convert_sklearn_random_forest_regressor_converter,
)
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin  # noqa: TID253
from sklearn.ensemble import (  # noqa: TID253
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import (  # noqa: TID253
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

Attributes: TypeAlias = dict[str, Any]
Mend: TypeAlias = Callable[[Any, Attributes], None]
Convert: TypeAlias = Callable[[object, Any, Any], None]


class Unexportable(ValueError):  # noqa: N818 - a statement about the model, turned into CN-EXPORT-002
    """The converter would write this model without a word, and wrongly."""


class BoosterClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped bases
    """A bare LightGBM `Booster` of classes, as scikit-learn and the converters want it."""

    boosting_type = "gbdt"

    def __init__(self, booster: Booster, count: int) -> None:
        self.booster = self.booster_ = booster
        self.count = count
        self.classes_ = np.arange(count)
        self.n_features_in_ = booster.num_feature()

    def predict_proba(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probabilities [n, classes]."""
        scores = np.asarray(self.booster.predict(x, num_threads=1))
        return scores if scores.ndim == 2 else np.column_stack([1 - scores, scores])


class BoosterRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # untyped bases
    """A bare LightGBM `Booster` of values, as scikit-learn and the converters want it."""

    boosting_type = "gbdt"

    def __init__(self, booster: Booster) -> None:
        self.booster = self.booster_ = booster
        self.n_features_in_ = booster.num_feature()

    def predict(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Predictions [n]."""
        return np.asarray(self.booster.predict(x, num_threads=1))


def estimator_of(booster: Booster) -> BoosterClassifier | BoosterRegressor:
    """The booster as an estimator: of classes or of values, as its objective says."""
    objective = _settings(booster).get("objective", "")
    if objective.startswith(("binary", "multiclass")):
        return BoosterClassifier(booster, max(booster.num_model_per_iteration(), 2))
    return BoosterRegressor(booster)


def floor32(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Round doubles down to single precision: ``x <= value`` is unchanged for every float32 `x`.

    Args:
        values: thresholds, float64 [n]; beyond the range of float32 they become the largest
            finite one or minus infinity, which split alike.
    """
    exact = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        near = exact.astype(np.float32)
        low = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > exact, low, near)


def converters() -> dict[type, Convert]:
    """The mended converters, by estimator, as skl2onnx's ``custom_conversion_functions``.

    LightGBM's classes are made known to skl2onnx on the way (a registration that is its own
    public interface, and the same each time).
    """
    for kind in _LIGHTGBM:
        classifies = issubclass(kind, ClassifierMixin)
        update_registered_converter(
            kind,
            f"Colonnade{kind.__name__}",
            calculate_linear_classifier_output_shapes
            if classifies
            else calculate_linear_regressor_output_shapes,
            _convert_lightgbm,
            options={"zipmap": [True, False], "nocl": [True, False]} if classifies else {},
        )
    return {kind: partial(_converted, *how) for kind, how in _MENDED.items()}


class _Container(Protocol):
    """Where a converter puts its nodes."""

    def add_node(self, op_type: str, *places: object, **attributes: object) -> None: ...


class _Operator(Protocol):
    """What a converter is called for."""

    raw_operator: object


class _LightGbm(Protocol):
    """The part of `_Operator` that holds a LightGBM model."""

    @property
    def raw_operator(self) -> BoosterClassifier | BoosterRegressor: ...


class _Histogram(Protocol):
    """A histogram gradient boosting of scikit-learn; its trees have no public form."""

    loss: str
    _predictors: list[list[Any]]


class _Mending:
    """A converter's container whose tree nodes are corrected before they are added."""

    def __init__(self, container: _Container, mend: Callable[[Attributes], None]) -> None:
        self._container = container
        self._mend = mend

    def __getattr__(self, name: str) -> object:
        return getattr(self._container, name)

    def add_node(self, op_type: str, *places: object, **attributes: object) -> None:
        if op_type.startswith("TreeEnsemble"):
            self._mend(attributes)
        self._container.add_node(op_type, *places, **attributes)


def _converted(
    convert: Convert, mend: Mend, scope: object, operator: _Operator, container: _Container
) -> None:
    """Run the library's converter, mending what it adds."""
    convert(scope, operator, _Mending(container, partial(mend, operator.raw_operator)))


def _convert_lightgbm(scope: object, operator: _LightGbm, container: _Container) -> None:
    """Refuse what the converter does not know about, then run it."""
    check_lightgbm(operator.raw_operator.booster_)
    convert_lightgbm(scope, operator, container)


def _mend_lightgbm(_model: object, attributes: Attributes) -> None:
    """Round thresholds down."""
    attributes["nodes_values"] = floor32(attributes["nodes_values"]).tolist()


def check_lightgbm(booster: Booster) -> None:
    """Refuse a booster that onnxmltools would convert without a word, and wrongly.

    Raises:
        Unexportable: a link, a tree or a rule for missing values that it does not write.
    """
    settings = _settings(booster)
    trees = booster.model_to_string()
    objective = settings.get("objective", "").split()
    name, options = (objective[0], objective[1:]) if objective else ("a function of your own", [])
    if name not in _OBJECTIVES or "sqrt" in options:
        raise Unexportable(f"objective {' '.join(objective) or name} has no exact form in ONNX")
    if any(o.startswith("sigmoid:") and float(o[8:]) != 1.0 for o in options):
        raise Unexportable("a sigmoid other than 1 is dropped by the converter")
    if "average_output" in settings:
        raise Unexportable("boosting 'rf' is averaged wrongly by the converter")
    if "\nis_linear=1" in trees:
        raise Unexportable("linear trees lose their coefficients in the converter")
    if _zero_is_missing(trees):
        raise Unexportable("zero_as_missing has no form in ONNX")


def _settings(booster: Booster) -> dict[str, str]:
    """The head of LightGBM's text format: ``objective``, ``average_output`` and others."""
    head, _, _ = booster.model_to_string(num_iteration=1).partition("\nTree=")
    return {name: value for name, _, value in (line.partition("=") for line in head.splitlines())}


def _zero_is_missing(trees: str) -> bool:
    """True if a split treats zero as missing: bits 2 and 3 of its decision type are 1."""
    lines = (line[14:] for line in trees.splitlines() if line.startswith("decision_type="))
    return any(int(bits) >> 2 & 3 == 1 for line in lines for bits in line.split())


def _mend_forest(model: object, attributes: Attributes) -> None:
    """Send a missing value where the tree sends it; the converter sends all to the right."""
    members = getattr(model, "estimators_", [model])
    trees = [member.tree_ for member in members]
    left = np.concatenate([tree.missing_go_to_left for tree in trees])
    inner = np.concatenate([tree.children_left for tree in trees]) != -1
    attributes["nodes_missing_value_tracks_true"] = (left.astype(bool) & inner).astype(int).tolist()


def _mend_histogram(model: _Histogram, attributes: Attributes) -> None:
    """Round thresholds down from the doubles, and write plain numbers that onnx accepts."""
    if model.loss in ("poisson", "gamma"):
        raise Unexportable(f"the exponential of loss {model.loss!r} is dropped by the converter")
    rounds = model._predictors  # noqa: SLF001
    nodes = np.concatenate([tree.nodes for trees in rounds for tree in trees])
    if nodes["is_categorical"].any():
        raise Unexportable("categorical_features are dropped by the converter")
    inner = nodes["is_leaf"] == 0
    attributes["nodes_values"] = np.where(inner, floor32(nodes["num_threshold"]), 0.0).tolist()
    attributes["nodes_missing_value_tracks_true"] = (
        (nodes["missing_go_to_left"].astype(bool) & inner).astype(int).tolist()
    )
    for name in ("nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids"):
        attributes[name] = [int(value) for value in attributes[name]]


_OBJECTIVES: Final = frozenset(
    {
        "binary",
        "multiclass",
        "regression",
        "regression_l1",
        "huber",
        "quantile",
        "poisson",
        "gamma",
        "tweedie",
    }
)
_LIGHTGBM: Final = (LGBMClassifier, LGBMRegressor, BoosterClassifier, BoosterRegressor)
_TREE: Final = (convert_sklearn_decision_tree_classifier, _mend_forest)
_TREE_VALUE: Final = (convert_sklearn_decision_tree_regressor, _mend_forest)
_FOREST: Final = (convert_sklearn_random_forest_classifier, _mend_forest)
_FOREST_VALUE: Final = (convert_sklearn_random_forest_regressor_converter, _mend_forest)
_MENDED: Final[Mapping[type, tuple[Convert, Mend]]] = {
    **dict.fromkeys(_LIGHTGBM, (_convert_lightgbm, _mend_lightgbm)),
    DecisionTreeClassifier: _TREE,
    ExtraTreeClassifier: _TREE,
    DecisionTreeRegressor: _TREE_VALUE,
    ExtraTreeRegressor: _TREE_VALUE,
    RandomForestClassifier: _FOREST,
    ExtraTreesClassifier: _FOREST,
    RandomForestRegressor: _FOREST_VALUE,
    ExtraTreesRegressor: _FOREST_VALUE,
    HistGradientBoostingClassifier: (convert_sklearn_random_forest_classifier, _mend_histogram),
    HistGradientBoostingRegressor: (
        convert_sklearn_random_forest_regressor_converter,
        _mend_histogram,
    ),
}
