from __future__ import annotations

import typing

import pytest

from colonnade.records.actor import ROLES, Action, Actor, Role

ACTIONS = typing.get_args(Action)


def test_every_role_is_described_with_known_actions():
    assert set(ROLES) == set(typing.get_args(Role))
    assert set().union(*ROLES.values()) <= set(ACTIONS)


def test_the_administrator_may_do_everything():
    assert ROLES["admin"] == set(ACTIONS)


@pytest.mark.parametrize("role", ["viewer", "engineer", "service"])
def test_who_trains_or_looks_does_not_promote(role):
    assert not Actor("a", frozenset({role})).may("promote")


def test_roles_add_up():
    both = Actor("a", frozenset({"approver", "engineer"}))
    assert both.may("promote")
    assert both.may("train")
    assert not both.may("keys")


def test_nobody_may_do_anything_without_a_role():
    assert not any(Actor("a", frozenset()).may(action) for action in ACTIONS)
