"""Secrets by name, addresses that may be asked, values that become columns exactly."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest

from colonnade.base.errors import UsageError
from colonnade.store.origins import address, columns, http, secret


def test_a_secret_is_what_its_name_holds(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", " a b\n")
    (tmp_path / "token").write_text("c\n")
    assert secret.resolve("env:TOKEN") == "a b"
    assert secret.fill(f"Bearer {{file:{tmp_path}/token}}!") == "Bearer c!"
    assert secret.fill("plain {text}") == "plain {text}"


@pytest.mark.parametrize("reference", ["env:NO_SUCH_NAME", "file:/nowhere", "file:/"])
def test_a_name_that_holds_nothing_is_said(reference):
    with pytest.raises(UsageError) as caught:
        secret.resolve(reference)
    assert caught.value.code == "CN-PULL-002"
    assert reference in caught.value.message


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "8.8.8.8"])
def test_an_address_of_the_world_is_public(text):
    assert address._is_public(text)


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.0", "::1",
     "::", "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::",
     "224.0.0.1", "255.255.255.255", "100.64.0.1", "192.0.2.1"],
)  # fmt: skip
def test_an_address_of_a_machine_or_a_network_is_not(text):
    assert not address._is_public(text)


@pytest.mark.parametrize(
    ("kinds", "dtype"),
    [
        (["null"], pl.String), (["integer", "null"], pl.Int64), (["boolean"], pl.Boolean),
        (["integer", "number"], pl.Float64), (["text", "integer"], pl.String),
        (["boolean", "integer"], pl.String),
    ],
)  # fmt: skip
def test_a_column_has_the_type_that_all_its_values_have(kinds, dtype):
    assert columns.dtype_of(kinds) == dtype


def test_values_become_columns_without_loss():
    found = columns.frame(
        [(1, Decimal("1.10"), "a", True), (None, None, None, None), (2, 3, 4.5, False)],
        {"i": pl.Int64(), "n": pl.Float64(), "s": pl.String(), "b": pl.Boolean()},
        "source x",
    )
    assert found.rows() == [(1, 1.1, "a", True), (None, None, None, None), (2, 3.0, "4.5", False)]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (2**63, pl.Int64()), (1.5, pl.Int64()), (Decimal("1.5"), pl.Int64()),
        (2**53 + 1, pl.Float64()), (Decimal("0.12345678901234567890"), pl.Float64()),
        (b"x", pl.String()), ({}, pl.String()), (2, pl.Boolean()), ("x", pl.Float64()),
        ("geheim", pl.Date()),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused_by_its_column_and_not_quoted(value, dtype):
    with pytest.raises(UsageError) as caught:
        columns.frame([(value,)], {"col": dtype}, "source x")
    assert caught.value.code == "CN-PULL-007"
    assert "'col'" in caught.value.message
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), (" 0 ", 0), ("-1", None), ("soon", None), (None, None),
     ("Mon, 01 Jan 2001 00:00:00 GMT", 0)],
)  # fmt: skip
def test_how_long_a_server_asks_to_wait(text, seconds):
    assert http._retry_after_s(text) == seconds
