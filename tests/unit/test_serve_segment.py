from __future__ import annotations

import pytest

from colonnade.base.errors import RefusedError, VerdictError
from colonnade.serve.segment import Head, Sealer, header, read_head, read_segment

SECRET = bytes(range(32))
KEYS = {"k1": SECRET}
HEAD = Head(key_id="k1", endpoint="late", spool="01", number=3)


def segment(tmp_path, *frames: bytes, head: Head = HEAD):
    sealer = Sealer(SECRET, head)
    path = tmp_path / "000000000003.seg"
    path.write_bytes(header(head) + b"".join(sealer.seal(i, f) for i, f in enumerate(frames)))
    return path


def code_of(path, keys=KEYS) -> str:
    with pytest.raises((VerdictError, RefusedError)) as caught:
        read_segment(path, keys)
    return caught.value.code


def test_what_was_sealed_is_read_in_order(tmp_path):
    path = segment(tmp_path, b"one", b"", b"three" * 1000)
    assert read_segment(path, KEYS) == (HEAD, [b"one", b"", b"three" * 1000])


def test_nothing_readable_is_in_the_file(tmp_path):
    assert b"secret words" not in segment(tmp_path, b"secret words").read_bytes()


def test_at_whatever_byte_a_write_was_cut_the_frames_before_it_are_read(tmp_path):
    path = segment(tmp_path, b"one", b"two")
    path = path.rename(path.with_suffix(".open"))
    data = path.read_bytes()
    ends = [len(header(HEAD))]
    ends += [ends[0] + len(Sealer(SECRET, HEAD).seal(0, b"one")), len(data)]
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        head, frames = read_segment(path, KEYS)
        assert frames == [b"one", b"two"][: sum(end <= cut for end in ends[1:])]
        assert (head is None) == (cut < ends[0])


def test_a_tail_of_zeros_or_half_written_pages_is_a_torn_tail(tmp_path):
    path = segment(tmp_path, b"one", b"two")
    path = path.rename(path.with_suffix(".open"))
    data = path.read_bytes()
    path.write_bytes(data + b"\0" * 4096)
    assert read_segment(path, KEYS)[1] == [b"one", b"two"]
    path.write_bytes(data[:-4] + b"\0" * 4)
    assert read_segment(path, KEYS)[1] == [b"one"]


def test_a_closed_segment_has_no_torn_tail(tmp_path):
    path = segment(tmp_path, b"one", b"two")
    data = path.read_bytes()
    for damaged in (data[:-1], data[:-3] + b"\0" + data[-2:], data + b"\0", data[:5], b""):
        path.write_bytes(damaged)
        with pytest.raises(VerdictError, match="CN-SPOOL-00"):
            read_segment(path, KEYS)


def test_any_changed_byte_before_the_last_frame_is_damage_and_no_torn_tail(tmp_path):
    path = segment(tmp_path, b"one", b"two", b"three")
    data = path.read_bytes()
    last = len(data) - len(Sealer(SECRET, HEAD).seal(2, b"three"))
    for at in range(last):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        assert code_of(path) in {"CN-SPOOL-001", "CN-SPOOL-002"}


def test_frames_cannot_change_places(tmp_path):
    sealer = Sealer(SECRET, HEAD)
    path = segment(tmp_path)
    path.write_bytes(header(HEAD) + sealer.seal(1, b"two") + sealer.seal(0, b"one"))
    assert code_of(path) == "CN-SPOOL-003"


def test_a_frame_of_another_segment_does_not_decrypt(tmp_path):
    other = Sealer(SECRET, Head(key_id="k1", endpoint="late", spool="01", number=4))
    path = segment(tmp_path)
    path.write_bytes(header(HEAD) + other.seal(0, b"one"))
    assert code_of(path) == "CN-SPOOL-003"


def test_a_key_that_is_not_at_hand_is_refused_and_a_wrong_one_noticed(tmp_path):
    path = segment(tmp_path, b"one")
    assert code_of(path, {"k2": SECRET}) == "CN-SPOOL-004"
    assert code_of(path, {"k1": bytes(32)}) == "CN-SPOOL-003"


def test_a_later_format_is_refused_by_name():
    with pytest.raises(VerdictError, match="CN-SPOOL-001"):
        read_head(b"CNSPOOL\x02" + b"\0" * 100)
