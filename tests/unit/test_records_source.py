"""Declarations of origins: what is refused, and that no secret is written into one."""

from __future__ import annotations

import pytest

import colonnade as co
from colonnade.base.errors import UsageError
from colonnade.project import Project
from colonnade.records.source import lag_s

URL = "https://api.example.com/orders"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://shop:geheim-0815@db/shop",
        "sqlite:///shop.db",
        "env:",
        "env:1X",
        "env:A B",
        "file:relative",
        "vault:geheim-0815",
        "",
        None,
    ],
)
def test_the_address_of_a_database_is_named_and_not_written(url):
    with pytest.raises(UsageError) as caught:
        co.Sql(url, "orders")
    assert caught.value.code == "CN-PULL-001"
    assert "geheim" not in str(caught.value)
    assert "env:SHOP_DATABASE_URL" in caught.value.fix


@pytest.mark.parametrize(
    "query",
    [
        "orders",
        "sales.orders",
        "select 1",
        "WITH x AS (SELECT 1) SELECT * FROM x;",
        "SELECT ';' AS x -- ; this\n",
    ],
)
def test_a_table_or_one_select_is_a_query(query):
    assert co.Sql("env:A", query).query == query


@pytest.mark.parametrize(
    "options",
    [
        {"cursor": ""}, {"cursor": 1}, {"lag": "1 hour"}, {"cursor": "a", "lag": "1 month"},
        {"cursor": "a", "lag": -1}, {"cursor": "a", "lag": True}, {"cursor": "a", "lag": 0.5},
        {"timeout_s": 0}, {"timeout_s": "1"}, {"timeout_s": float("nan")},
    ],
)  # fmt: skip
def test_a_setting_of_a_query_out_of_its_range_is_refused(options):
    with pytest.raises(UsageError, match="CN-PULL-001"):
        co.Sql("env:A", "orders", **options)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("ftp://api.example.com", {}), ("file:///etc/passwd", {}), ("api.example.com", {}),
        ("https://", {}), ("https://[", {}), ("https://h:x/", {}), (None, {}),
        ("https://user:geheim-0815@api.example.com/", {}),
        ("https://api.example.com/?api_key=geheim-0815", {}),
        (URL, {"headers": {"Authorization": "Bearer geheim-0815"}}),
        (URL, {"headers": {"x-api-key": "geheim-0815"}}),
        (URL, {"params": {"access_token": "geheim-0815"}}),
        (URL, {"headers": {"x": "a\r\ny: b"}}), (URL, {"headers": "x"}),
        (URL, {"params": {"x": []}}),
        (URL, {"next": "page:p", "params": {"p": "env:X"}}),
        (URL, {"next": "somehow"}), (URL, {"next": "cursor:after"}), (URL, {"next": 1}),
        (URL, {"cursor": "at"}), (URL, {"since": "at"}),
        (URL, {"rate": 0}), (URL, {"max_pages": 0}), (URL, {"max_bytes": -1}),
    ],
)  # fmt: skip
def test_an_interface_that_cannot_be_asked_is_refused(url, options):
    with pytest.raises(UsageError) as caught:
        co.Rest(url, **options)
    assert caught.value.code == "CN-PULL-001"
    assert "geheim" not in str(caught.value)


def test_secrets_of_an_interface_are_named():
    declared = co.Rest(URL, headers={"authorization": "Bearer {env:TOKEN}", "x-key": "file:/run/k"})
    assert "env:TOKEN" in repr(declared)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1 second", 1), ("90 seconds", 90), ("1hour", 3600), ("2 days", 172_800), (7, None),
     ("1 year", None), (None, None)],
)  # fmt: skip
def test_a_lag_is_a_duration(text, seconds):
    assert lag_s(text) == seconds


def test_the_mode_follows_from_the_cursor():
    source = Project("p").source
    assert source("a", co.Sql("env:A", "a", cursor="x"), key="id").mode == "append"
    assert source("b", co.Sql("env:A", "a")).mode == "replace"
    assert source("c", co.Rest(URL), key=["x", "y"]).key == ("x", "y")


@pytest.mark.parametrize(
    ("origin", "options"),
    [
        (co.Sql("env:A", "a", cursor="x"), {"mode": "replace"}),
        (co.Sql("env:A", "a"), {"mode": "append"}),
        (co.Sql("env:A", "a"), {"mode": "other"}),
        (co.Rest(URL), {"schedule": "on arrival"}),
        (co.Rest(URL), {"key": ["x", "x"]}),
        (object(), {}),
    ],
)
def test_what_does_not_go_together_is_refused(origin, options):
    with pytest.raises(UsageError, match="CN-PROJECT-009"):
        Project("p").source("a", origin, **options)
