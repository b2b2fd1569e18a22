from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from lightgbm import Booster, Dataset, LGBMClassifier, LGBMRegressor, early_stopping, train
from sklearn.base import BaseEstimator
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from colonnade.base.errors import RefusedError, UsageError
from colonnade.bundle import load
from colonnade.bundle.export import Agreement, check_equal, native_scores, to_onnx
from colonnade.bundle.manifest import seal
from colonnade.bundle.predict import Predictor
from colonnade.records.model import Feature, Manifest, Signature, Task

Matrix = npt.NDArray[np.float32]
PRIVATE = Ed25519PrivateKey.generate()
CARRIERS = tuple(f"carrier {i}" for i in range(300))
FEATURES = (
    Feature(name="distance", kind="number"),
    Feature(name="carrier", kind="category", categories=CARRIERS),
    Feature(name="hour", kind="integer"),
    Feature(name="origin", kind="category", categories=("EWR", "JFK", "LGA")),
    Feature(name="holiday", kind="flag"),
)
CLASSES: dict[Task, tuple[str, ...]] = {
    "binary": ("false", "true"),
    "multiclass": ("early", "late", "on time"),
    "regression": (),
}
SMALL = {"n_estimators": 12, "n_jobs": 1, "verbose": -1, "min_child_samples": 5}


class Key:
    def sign(self, data: bytes) -> tuple[str, bytes]:
        return "k", PRIVATE.sign(data)


def a_signature(task: Task, features: tuple[Feature, ...] = FEATURES) -> Signature:
    return Signature(features=features, task=task, classes=CLASSES[task])


def opened(estimator: object, signature: Signature) -> Predictor:
    content = Manifest(
        name="m", version=1, run="r", made_at="2026-11-01", signature=signature, files={}
    )
    files = seal(content, {"model.onnx": to_onnx(estimator, signature)}, Key())
    return load.open_bundle(files, {"k": PRIVATE.public_key().public_bytes_raw()})


def some_rows(n: int = 400, seed: int = 0) -> Matrix:
    random = np.random.default_rng(seed)
    x = np.column_stack(
        [
            random.choice([0.1, 0.2, 0.3, 1e-20, 0.0, -7.5, 1e30], n),
            random.integers(0, len(CARRIERS), n),
            random.integers(0, 24, n),
            random.integers(0, 3, n),
            random.integers(0, 2, n),
        ]
    ).astype(np.float32)
    x[random.random(x.shape) < 0.1] = np.nan
    return x


def answers(x: Matrix, task: Task) -> npt.NDArray[np.float64]:
    random = np.random.default_rng(1)
    full = np.nan_to_num(x)
    value = full[:, 2] / 8 + (full[:, 1] % 7) / 3 + full[:, 4] + random.normal(size=len(x))
    if task == "regression":
        return value
    cuts = [np.median(value)] if task == "binary" else list(np.quantile(value, [0.3, 0.6]))
    return np.digitize(value, cuts)


def booster(task: Task, x: Matrix, y: npt.NDArray[np.float64]) -> Booster:
    objective = {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}[task]
    more = {"num_class": 3} if task == "multiclass" else {}
    settings = {"objective": objective, "verbose": -1, "num_threads": 1, **more}
    return train(settings, Dataset(x, y), 10)


def imputed(last: BaseEstimator) -> Pipeline:
    return make_pipeline(SimpleImputer(), StandardScaler(), last)


ESTIMATORS: list[tuple[str, Task, Callable[[], BaseEstimator]]] = [
    ("lightgbm", "binary", lambda: LGBMClassifier(**SMALL)),
    ("lightgbm", "multiclass", lambda: LGBMClassifier(**SMALL)),
    ("lightgbm", "regression", lambda: LGBMRegressor(**SMALL)),
    ("poisson", "regression", lambda: LGBMRegressor(**SMALL, objective="poisson")),
    ("quantile", "regression", lambda: LGBMRegressor(**SMALL, objective="quantile")),
    ("dart", "binary", lambda: LGBMClassifier(**SMALL, boosting_type="dart")),
    ("forest", "binary", lambda: RandomForestClassifier(5, random_state=0)),
    ("forest", "multiclass", lambda: RandomForestClassifier(5, random_state=0)),
    ("forest", "regression", lambda: RandomForestRegressor(5, random_state=0)),
    ("histogram", "binary", lambda: HistGradientBoostingClassifier(max_iter=8)),
    ("histogram", "multiclass", lambda: HistGradientBoostingClassifier(max_iter=8)),
    ("histogram", "regression", lambda: HistGradientBoostingRegressor(max_iter=8)),
    ("logistic", "binary", lambda: imputed(LogisticRegression())),
    ("logistic", "multiclass", lambda: imputed(LogisticRegression())),
    ("linear", "regression", lambda: imputed(LinearRegression())),
    ("bayes", "binary", lambda: imputed(GaussianNB())),
    ("pipeline of lightgbm", "binary", lambda: imputed(LGBMClassifier(**SMALL))),
    ("pipeline of lightgbm", "regression", lambda: imputed(LGBMRegressor(**SMALL))),
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def x() -> Matrix:
    rows = some_rows()
    rows[:, 0] = np.where(rows[:, 0] > 1e20, 9.0, rows[:, 0])
    return rows


@pytest.mark.parametrize(
    ("task", "make"),
    [(task, make) for _, task, make in ESTIMATORS],
    ids=[f"{name}-{task}" for name, task, _ in ESTIMATORS],
)
def test_the_exported_model_answers_as_the_native_one_does(
    task: Task, make: Callable[[], BaseEstimator], x: Matrix, capfd: pytest.CaptureFixture[str]
) -> None:
    y = answers(x, task)
    estimator = make().fit(x, y - y.min() if task == "regression" else y)
    found = check_equal(estimator, opened(estimator, a_signature(task)), x)
    assert found.rows == len(x)
    assert found.difference < 5e-6
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_bare_booster_is_exported_too(task: Task, x: Matrix) -> None:
    model = booster(task, x, answers(x, task))
    assert check_equal(model, opened(model, a_signature(task)), x).difference < 5e-6


@pytest.mark.parametrize("labels", [bool, np.int8, np.int64, np.float64])
@pytest.mark.parametrize("make", [LGBMClassifier, HistGradientBoostingClassifier, GaussianNB])
def test_labels_may_be_of_any_numeric_type(
    labels: type, make: Callable[[], BaseEstimator], x: Matrix
) -> None:
    estimator = make()
    if isinstance(estimator, LGBMClassifier):
        estimator.set_params(**SMALL)
    full = np.nan_to_num(x)
    estimator.fit(full, answers(x, "binary").astype(labels))
    assert check_equal(estimator, opened(estimator, a_signature("binary")), full).rows == len(x)


def test_labels_may_be_the_texts_of_the_classes(x: Matrix) -> None:
    y = np.array(CLASSES["multiclass"])[answers(x, "multiclass").astype(int)]
    estimator = LGBMClassifier(**SMALL).fit(x, y)
    assert check_equal(estimator, opened(estimator, a_signature("multiclass")), x).rows == len(x)


@pytest.mark.parametrize(
    "settings",
    [
        {"min_child_samples": 10_000},
        {"num_leaves": 2},
        {"num_leaves": 200, "min_child_samples": 1},
        {"scale_pos_weight": 1000.0},
        {"boost_from_average": False},
        {"use_missing": False},
    ],
    ids=str,
)
def test_unusual_lightgbm_trees_are_exact(settings: dict[str, float], x: Matrix) -> None:
    estimator = LGBMClassifier(**{**SMALL, **settings}).fit(x, answers(x, "binary"))
    assert check_equal(estimator, opened(estimator, a_signature("binary")), x).difference < 5e-6


@pytest.mark.parametrize("missing", [True, False], ids=["missing", "complete"])
def test_lightgbm_splits_on_many_categories_are_exact(missing: bool) -> None:
    x = some_rows(3000)
    learnt = x if missing else np.nan_to_num(x)
    settings = {**SMALL, "max_cat_to_onehot": 1, "min_data_per_group": 1, "cat_smooth": 0.0}
    estimator = LGBMClassifier(**settings).fit(
        learnt, answers(x, "binary"), categorical_feature=[1, 3]
    )
    assert "==" in str(estimator.booster_.dump_model(num_iteration=1))
    assert check_equal(estimator, opened(estimator, a_signature("binary")), x).difference < 5e-6


def test_early_stopping_exports_the_best_round(x: Matrix) -> None:
    y = answers(x, "binary")
    estimator = LGBMClassifier(**{**SMALL, "n_estimators": 100})
    stop = early_stopping(3, verbose=False)
    estimator.fit(x[:200], y[:200], eval_X=x[200:], eval_y=y[200:], callbacks=[stop])
    assert estimator.best_iteration_ < 100
    assert check_equal(estimator, opened(estimator, a_signature("binary")), x).difference < 5e-6


@pytest.mark.parametrize("make", [RandomForestClassifier, HistGradientBoostingClassifier])
def test_a_value_missing_only_when_serving_goes_where_the_trees_send_it(
    make: Callable[..., BaseEstimator], x: Matrix
) -> None:
    full = np.nan_to_num(x)
    estimator = make(random_state=0).fit(full, answers(x, "binary"))
    assert check_equal(estimator, opened(estimator, a_signature("binary")), x).rows == len(x)


def test_the_same_model_gives_the_same_bytes(x: Matrix) -> None:
    estimator = imputed(LGBMClassifier(**SMALL)).fit(x, answers(x, "binary"))
    signature = a_signature("binary")
    assert to_onnx(estimator, signature) == to_onnx(estimator, signature)


@pytest.mark.parametrize(
    ("task", "shape"), [("binary", ["n"]), ("multiclass", ["n", 3]), ("regression", ["n"])]
)
def test_the_graph_has_two_raw_inputs_and_one_score(
    task: Task, shape: list[str | int], x: Matrix
) -> None:
    graph = onnx.load_from_string(to_onnx(booster(task, x, answers(x, task)), a_signature(task)))
    assert [place.name for place in graph.graph.input] == ["numbers", "words"]
    (score,) = graph.graph.output
    dims = score.type.tensor_type.shape.dim
    assert score.name == "score"
    assert [dim.dim_param or dim.dim_value for dim in dims] == shape
    assert not any(node.op_type == "ZipMap" for node in graph.graph.node)


@pytest.mark.parametrize(
    ("kept", "inputs"), [([0, 2, 4], ["numbers"]), ([1, 3], ["words"]), ([3], ["words"])]
)
def test_a_group_without_columns_has_no_input(
    kept: list[int], inputs: list[str], x: Matrix
) -> None:
    signature = a_signature("binary", tuple(FEATURES[i] for i in kept))
    estimator = LGBMClassifier(**SMALL).fit(x[:, kept], answers(x, "binary"))
    graph = onnx.load_from_string(to_onnx(estimator, signature)).graph
    assert [place.name for place in graph.input] == inputs
    assert check_equal(estimator, opened(estimator, signature), x[:, kept]).rows == len(x)


def test_unknown_missing_and_never_seen_categories_are_missing_values(x: Matrix) -> None:
    features = (*FEATURES, Feature(name="empty", kind="category"))
    wide = np.column_stack([x, np.full(len(x), np.nan)]).astype(np.float32)
    estimator = LGBMClassifier(**SMALL).fit(wide, answers(x, "binary"))
    predictor = opened(estimator, a_signature("binary", features))
    row = {"distance": 0.2, "hour": 3, "holiday": True, "origin": "JFK", "empty": None}
    columns = {name: [value] * 3 for name, value in row.items()}
    columns["empty"] = ["x", None, ""]
    scores = predictor.score_columns({**columns, "carrier": ["carrier 999", None, ""]})
    native = native_scores(
        estimator, predictor.signature, np.array([[0.2, np.nan, 3, 1, 1, np.nan]], np.float32)
    )
    assert scores == pytest.approx(native[0], abs=1e-6)


def test_an_unfitted_estimator_is_named() -> None:
    with pytest.raises(UsageError, match=r"CN-EXPORT-001.*LGBMClassifier is not fitted"):
        to_onnx(LGBMClassifier(), a_signature("binary"))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1}, "averaged"),
        ({"zero_as_missing": True}, "zero_as_missing"),
        ({"linear_tree": True}, "linear trees"),
        ({"sigmoid": 2.0}, "sigmoid"),
        ({"objective": "cross_entropy"}, "objective cross_entropy"),
    ],
    ids=str,
)
def test_a_lightgbm_model_that_onnx_cannot_hold_is_refused_with_the_reason(
    settings: dict[str, object], reason: str, x: Matrix
) -> None:
    estimator = LGBMClassifier(**{**SMALL, **settings}).fit(x, answers(x, "binary"))
    with pytest.raises(UsageError, match=f"CN-EXPORT-002.*{reason}"):
        to_onnx(estimator, a_signature("binary"))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"reg_sqrt": True}, "sqrt"),
        ({"objective": "mape"}, "mape"),
        ({"objective": lambda y, p: (p - y, np.ones_like(y))}, "of your own"),
    ],
    ids=["sqrt", "mape", "own"],
)
def test_a_regression_with_another_link_is_refused_with_the_reason(
    settings: dict[str, object], reason: str, x: Matrix
) -> None:
    estimator = LGBMRegressor(**{**SMALL, **settings}).fit(x, answers(x, "regression"))
    with pytest.raises(UsageError, match=f"CN-EXPORT-002.*{reason}"):
        to_onnx(estimator, a_signature("regression"))


def test_one_against_all_is_refused(x: Matrix) -> None:
    estimator = LGBMClassifier(**SMALL, objective="multiclassova")
    with pytest.raises(UsageError, match=r"CN-EXPORT-002.*multiclassova"):
        to_onnx(estimator.fit(x, answers(x, "multiclass")), a_signature("multiclass"))


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (HistGradientBoostingRegressor(loss="poisson", max_iter=2), "poisson"),
        (HistGradientBoostingRegressor(categorical_features=[4], max_iter=2), "categorical"),
    ],
    ids=["poisson", "categorical"],
)
def test_a_histogram_model_that_the_converter_would_get_wrong_is_refused(
    estimator: BaseEstimator, reason: str, x: Matrix
) -> None:
    y = answers(x, "regression")
    with pytest.raises(UsageError, match=f"CN-EXPORT-002.*{reason}"):
        to_onnx(estimator.fit(x, y - y.min()), a_signature("regression"))


@pytest.mark.parametrize(("task", "wanted"), [("binary", "regression"), ("regression", "binary")])
def test_a_booster_of_another_objective_is_refused(task: Task, wanted: Task, x: Matrix) -> None:
    with pytest.raises(UsageError, match=r"CN-EXPORT-004.*Booster is"):
        to_onnx(booster(task, x, answers(x, task)), a_signature(wanted))


def test_what_is_no_estimator_is_refused() -> None:
    with pytest.raises(UsageError, match=r"CN-EXPORT-002.*object is neither"):
        to_onnx(object(), a_signature("binary"))


class Unknown(LogisticRegression):
    pass


def test_an_estimator_that_no_converter_knows_is_refused_in_one_line(x: Matrix) -> None:
    estimator = imputed(Unknown()).fit(x, answers(x, "binary"))
    with pytest.raises(UsageError) as caught:
        to_onnx(estimator, a_signature("binary"))
    assert caught.value.code == "CN-EXPORT-002"
    assert "Pipeline ending in Unknown" in caught.value.message
    assert "\n" not in caught.value.message


def test_another_number_of_features_is_refused_with_both_numbers(x: Matrix) -> None:
    estimator = LGBMClassifier(**SMALL).fit(x[:, :3], answers(x, "binary"))
    with pytest.raises(UsageError, match=r"CN-EXPORT-003.*on 3 features.*declares 5"):
        to_onnx(estimator, a_signature("binary"))


def test_a_classifier_for_a_regression_is_refused(x: Matrix) -> None:
    estimator = LGBMClassifier(**SMALL).fit(x, answers(x, "binary"))
    with pytest.raises(UsageError, match="CN-EXPORT-004"):
        to_onnx(estimator, a_signature("regression"))


@pytest.mark.parametrize("make", [LGBMRegressor, LinearRegression, RidgeClassifier])
def test_a_model_without_probabilities_is_refused_for_classes(
    make: Callable[[], BaseEstimator], x: Matrix
) -> None:
    estimator = make().fit(np.nan_to_num(x), answers(x, "binary"))
    with pytest.raises(UsageError, match=r"CN-EXPORT-004.*predict_proba"):
        to_onnx(estimator, a_signature("binary"))


@pytest.mark.parametrize("y", [[0, 2, 1], [0, 0, 0], [5, 6, 7], ["late", "early", "z"]], ids=str)
def test_other_classes_than_the_signature_has_are_refused(y: list[int] | list[str]) -> None:
    rows = np.nan_to_num(some_rows(30))
    estimator = RandomForestClassifier(2).fit(rows, np.resize(y, 30))
    with pytest.raises(UsageError, match="CN-EXPORT-004"):
        to_onnx(estimator, a_signature("binary"))


@pytest.mark.parametrize("categories", [("UA", ""), ("UA", "UA")])
def test_categories_that_cannot_be_told_apart_are_refused(categories: tuple[str, ...]) -> None:
    features = (Feature(name="carrier", kind="category", categories=categories),)
    with pytest.raises(UsageError, match=r"CN-EXPORT-005.*'carrier'"):
        to_onnx(LGBMClassifier(), a_signature("binary", features))


def test_a_difference_is_refused_with_its_size_and_the_number_of_rows(x: Matrix) -> None:
    y = answers(x, "binary")
    exported = opened(LGBMClassifier(**SMALL).fit(x, y), a_signature("binary"))
    other = LGBMClassifier(**{**SMALL, "n_estimators": 13}).fit(x, y)
    with pytest.raises(RefusedError) as caught:
        check_equal(other, exported, x)
    apart = np.abs(native_scores(other, exported.signature, x) - exported.score_columns(_raw(x)))
    assert caught.value.code == "CN-EXPORT-006"
    assert f"in {(apart > 1e-5).sum()} of 400 rows" in caught.value.message
    assert f"at most by {apart.max():.3g}" in caught.value.message


def test_the_tolerance_can_be_widened(x: Matrix) -> None:
    y = answers(x, "binary")
    exported = opened(LGBMClassifier(**SMALL).fit(x, y), a_signature("binary"))
    other = LGBMClassifier(**{**SMALL, "n_estimators": 13}).fit(x, y)
    assert 1e-5 < check_equal(other, exported, x, tolerance=0.5).difference < 0.5


def test_a_regression_is_compared_relative_to_its_size(x: Matrix) -> None:
    y = answers(x, "regression") * 1e6
    estimator = LGBMRegressor(**SMALL).fit(x, y)
    found = check_equal(estimator, opened(estimator, a_signature("regression")), x)
    assert isinstance(found, Agreement)
    assert found.difference < 5e-6


def test_a_missing_score_equals_only_a_missing_score(x: Matrix) -> None:
    rows = np.nan_to_num(x)
    estimator = LinearRegression().fit(rows, answers(x, "regression"))
    exported = opened(estimator, a_signature("regression"))
    estimator.coef_ = estimator.coef_ * np.nan
    with pytest.raises(RefusedError, match="in 400 of 400 rows, at most by inf"):
        check_equal(estimator, exported, rows)


def test_no_rows_prove_nothing(x: Matrix) -> None:
    estimator = LGBMClassifier(**SMALL).fit(x, answers(x, "binary"))
    with pytest.raises(UsageError, match="CN-EXPORT-007"):
        check_equal(estimator, opened(estimator, a_signature("binary")), x[:0])


def _raw(x: Matrix) -> dict[str, list[object]]:
    """The columns of a table whose matrix is `x`."""
    return {
        f.name: [
            None if value != value else f.categories[int(value)] if f.categories else float(value)  # noqa: PLR0124
            for value in x[:, i]
        ]
        for i, f in enumerate(FEATURES)
    }
