from __future__ import annotations

from colonnade.records.model import Feature, Signature
from colonnade.records.prediction import labels_of, predictions_of
from colonnade.records.ref import Ref, parse


def test_features_are_split_into_numbers_and_words_in_their_order():
    features = (
        Feature(name="hour", kind="integer"),
        Feature(name="carrier", kind="category", categories=("AA", "UA")),
        Feature(name="holiday", kind="flag"),
        Feature(name="origin", kind="category"),
        Feature(name="distance", kind="number"),
    )
    signature = Signature(features=features, task="binary", classes=("no", "yes"))
    assert [feature.name for feature in signature.numbers] == ["hour", "holiday", "distance"]
    assert [feature.name for feature in signature.words] == ["carrier", "origin"]


def test_the_tables_of_an_endpoint_have_names_that_a_reference_can_carry():
    for name in (predictions_of("late"), labels_of("late")):
        assert parse(str(Ref("table", name, 1))).name == name
    assert predictions_of("late") != labels_of("late")
