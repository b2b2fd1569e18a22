"""A model version: what it takes, what it answers, which bytes it is, and who vouches for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

FeatureKind = Literal["number", "integer", "flag", "category"]
FieldKind = Literal["number", "integer", "flag", "category", "date", "datetime"]
Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What a contract says of a feature that comes unchanged from a source; null passes.

    Attributes:
        contract: the version that says it, ``name@version``.
        values: the only texts of a category; empty for any.
    """

    contract: str
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    values: tuple[str, ...] = ()

    def admits(self, value: str | float) -> bool:
        """Whether a request may say this."""
        if isinstance(value, str):
            shortest, longest = self.min_length or 0, self.max_length
            fits = shortest <= len(value) and (longest is None or len(value) <= longest)
            return fits and (not self.values or value in self.values)
        least, most = self.minimum, self.maximum
        return (least is None or value >= least) and (most is None or value <= most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column that the model reads, with what was seen of it in training.

    Attributes:
        categories: the known words of a category, in the order of their codes.
        low: smallest value in training; None for a category or an empty column.
        high: largest value in training.
        admitted: what a request may say of it; None where no contract does.
    """

    name: str
    kind: FeatureKind
    categories: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    admitted: Admitted | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column of the business key that a request may carry beside the features."""

    name: str
    kind: FieldKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a request carries and what the score means.

    Attributes:
        time: the column of event time, None where the table has none.
        classes: the labels' texts in the order of the probabilities; empty for a regression.
    """

    features: tuple[Feature, ...]
    task: Task
    key: tuple[Field, ...] = ()
    time: str | None = None
    classes: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[Feature, ...]:
        """The columns of the bundle's input ``numbers``, in order."""
        return tuple(f for f in self.features if f.kind != "category")

    @property
    def words(self) -> tuple[Feature, ...]:
        """The columns of the bundle's input ``words``, in order."""
        return tuple(f for f in self.features if f.kind == "category")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    """The bytes of one file of a bundle."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle is; signed when the version is registered.

    Attributes:
        run: the run that fitted it.
        trained_until: newest event time in the snapshot; None where the table has no time.
        snapshot: the table versions it was fitted on.
        environment: package -> version that fitted and exported it.
    """

    name: str
    version: int
    run: str
    made_at: str
    signature: Signature
    files: dict[str, FileDigest]
    trained_until: str | None = None
    snapshot: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """What the ledger says of a model version.

    Attributes:
        digest: SHA-256 of the manifest's bytes: what approvals and deployments are bound to.
        key_id: the key that signed the manifest.
        files: file of the bundle -> blob digest, the manifest and its signature included.
    """

    run: str
    digest: str
    key_id: str
    files: dict[str, str]
    task: Task
    trained_until: str | None
