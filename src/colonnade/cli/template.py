"""The text of a first `project.py`: written once, then the user's own.

It is laid out as the formatters do it, so that nothing moves when the user runs one.
"""

from __future__ import annotations

import builtins
import json
import keyword
import math
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from colonnade.records.outline import Outline, Value

WIDTH: Final = 100

BLANK: Final = '''"""What this project declares. `colonnade run` carries it out."""

from __future__ import annotations

import polars as pl
from sklearn.linear_model import LogisticRegression

import colonnade as co

project = co.Project("{name}")
project.source("rows", "landing/*.csv")


@project.table(key="id", time="at")
def examples(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows


@project.model(label="label", features=["x"], gates=["auc >= 0.60", "auc > champion"])
def {name}_model(examples: co.TrainingSet) -> LogisticRegression:
    return LogisticRegression().fit(examples.X, examples.y)


project.deploy({name}_model, retrain="auc < 0.60 or drift")
'''

_FILE: Final = '''"""What this project declares. `colonnade run` carries it out.

Written by `colonnade init` from {file}; it is yours now: change what it decided.
"""

from __future__ import annotations

import colonnade as co
import polars as pl
from lightgbm import {estimator}

project = co.Project("{name}")

# Rows that land later go into a file of their own beside the first one.
project.source("{source}", "landing/*{suffix}", schedule="on arrival")
{rare}

{why_key}
{why_time}
@project.table({table})
def examples({source}: pl.LazyFrame) -> pl.LazyFrame:
    """One row an example: features and label."""
{body}


{judged}
@project.model(
    label={label},
{features}
{gates}
)
def {model}(examples: co.TrainingSet) -> {estimator}:
    """LightGBM takes missing values and categories as they are."""
    model = {estimator}({settings})
    return model.fit(examples.X, examples.y, categorical_feature=list(examples.categories))


project.deploy({deploy})
'''
_TAKEN: Final = frozenset(
    {"project", "pl", "co", "examples", "model", *keyword.kwlist}
) | frozenset(dir(builtins))


def slug(text: str, otherwise: str) -> str:
    """A name from any text: ``Größe (cm)`` is ``grosse_cm``."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore")
    name = re.sub(r"[^a-z0-9]+", "_", plain.decode().lower()).strip("_")[:40].strip("_")
    if not name:
        return otherwise
    return name if name[0].isalpha() else f"{otherwise}_{name}"


def model_name(outline: Outline) -> str:
    """What the model and its endpoint are called."""
    return f"{slug(outline.label, 'label')}_model"


def text(name: str, file: str, suffix: str, outline: Outline) -> str:
    """The project of a file.

    Args:
        name: of the project.
        file: the file's name.
        suffix: how the names of such files end.
        outline: what to declare.
    """
    source = slug(file.removesuffix(suffix), "data")
    if source in _TAKEN or source == model_name(outline):
        source += "_rows"
    estimator = "LGBMRegressor" if outline.task == "regression" else "LGBMClassifier"
    key = f"key={_key(outline.key)}" if outline.key else ""
    time = f"time={_quoted(outline.time)}" if outline.time else ""
    gates, judged, retrain = _gates(outline)
    return _FILE.format(
        name=name,
        file=_comment(file),
        suffix=suffix,
        source=source,
        estimator=estimator,
        why_key=_told(f"key: {_why(outline.key, outline.why_key)}."),
        why_time=_told(f"time: {_why(outline.time, outline.why_time)}."),
        table=", ".join(filter(None, [key, time])),
        rare=_rare(outline),
        body="\n".join(_body(source, outline)),
        judged=_told(judged),
        label=_quoted(outline.label),
        features=_listed("    features=", outline.features) + ",",
        gates=_listed("    gates=", gates) + ",",
        model=model_name(outline),
        settings=_settings(outline),
        deploy=", ".join(
            [model_name(outline), *([f"retrain={_quoted(retrain)}"] if retrain else [])]
        ),
    )


def _gates(outline: Outline) -> tuple[list[str], str, str | None]:
    """The gates, the comment that explains them, and the trigger of a new fit."""
    part = "the newest fifth" if outline.time else "a random fifth"
    if outline.task == "binary":
        metric, bound, why = "auc", "0.55", "0.5 is what guessing reaches"
    elif outline.task == "multiclass":
        bound = f"{math.floor((outline.base or 0.0) * 10) / 10:g}"
        metric = "accuracy"
        why = f"{outline.base:.2f} is what always answering the most frequent class reaches"
    else:
        metric, bound, why = "r2", "0", "0 is what always answering the mean reaches"
    judged = f"A fit is judged on {part} of the rows, which it has not seen; {why}."
    gate = f"{metric} >= {bound}"
    if outline.time is None:
        return [gate], judged, None
    return [gate, f"{metric} > champion"], judged, f"{metric} < {bound} or drift"


def _body(source: str, outline: Outline) -> Iterator[str]:
    label = _quoted(outline.label)
    steps = []
    if outline.untimed:
        time = _quoted(outline.time or "")
        steps.append((f"{outline.untimed:,} rows have no time.", f".drop_nulls({time})"))
    if outline.cast:
        what = "a class" if outline.cast == "Int64" else "a value, not a class"
        change = f".with_columns(pl.col({label}).cast(pl.{outline.cast}))"
        steps.append((f"A number that is {what}.", change))
    if outline.rare:
        steps.append(("", f".filter(~pl.col({label}).is_in(RARE))"))
    if not steps:
        yield f"    return {source}"
        return
    yield f"    rows = {source}"
    for comment, step in steps:
        if comment:
            yield f"    # {comment}"
        yield f"    rows = rows{step}"
    yield "    return rows"


def _rare(outline: Outline) -> str:
    """The classes that too few rows have, as a constant of the file."""
    if not outline.rare:
        return ""
    return f"\n# Too few rows have these to learn them from.\n{_listed('RARE = ', outline.rare)}\n"


def _settings(outline: Outline) -> str:
    """Leaves that small tables can fill; LightGBM's own default asks for 20 rows each."""
    few = ["min_child_samples=5"] if outline.rows < 1000 else []
    return ", ".join(["n_jobs=1", "verbose=-1", "random_state=examples.seed", *few])


def _listed(before: str, values: Iterable[Value]) -> str:
    """A list on one line, or an item a line where it is too long."""
    texts = [_quoted(value) for value in values]
    line = f"{before}[{', '.join(texts)}]"
    if len(line) < WIDTH:
        return line
    indent = " " * (len(before) - len(before.lstrip()))
    items = "".join(f"{indent}    {item},\n" for item in texts)
    return f"{before}[\n{items}{indent}]"


def _key(key: Sequence[str]) -> str:
    return _quoted(key[0]) if len(key) == 1 else f"[{', '.join(map(_quoted, key))}]"


def _why(chosen: object, why: str) -> str:
    return f"none, {why}" if not chosen else why


def _quoted(value: Value) -> str:
    """A value as a formatter writes it: texts in double quotes, unless they hold some."""
    if not isinstance(value, str):
        return repr(value)
    text = json.dumps(value, ensure_ascii=False)
    if '"' in value and "'" not in value:
        return "'" + text[1:-1].replace('\\"', '"') + "'"
    return text


def _told(words: str) -> str:
    """A comment of as many lines as it takes."""
    return textwrap.fill(words, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _comment(words: str) -> str:
    """On one line, and no end of a docstring."""
    return " ".join(words.split()).replace('"', "'").replace("\\", "/")
