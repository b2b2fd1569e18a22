from __future__ import annotations

import pytest

from colonnade.serve import control

ACCESS = control.Access("late", {"ab": "tower"}, 1.0, 2.0)


@pytest.mark.parametrize(
    "order",
    [
        control.Begin("spool", "k1", bytes(32), "commit", 0.02, 2.0, 10, 20, 30, 5.0),
        control.Load("late", "r1", {"model.onnx": b"\0\xff"}, {"k": bytes(32)}, ACCESS),
        control.Switch("late", "r1"),
        control.Drop("r1"),
        ACCESS,
        control.Enter(),
        control.Stop(),
    ],
)
def test_an_order_arrives_as_it_was_given(order):
    packed = control.pack(order)
    (length,) = control.LENGTH.unpack_from(packed)
    body = packed[control.LENGTH.size :]
    assert len(body) == length
    assert control.decode_order(body) == order


@pytest.mark.parametrize(
    "reply",
    [
        control.Loaded("r1", "ab", "k1", 1.5),
        control.Refused("r1", "CN-BUNDLE-008", "m", "f"),
        control.Switched("r1"),
        control.Entered(),
    ],
)
def test_a_reply_arrives_as_it_was_given(reply):
    assert control.decode_reply(control.pack(reply)[control.LENGTH.size :]) == reply
