"""The frame format: the package's copy and the islands' own copies are held to the same bytes."""

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretto import client, control, rpc, shim
from stretto.errors import CorruptError

messages = st.dictionaries(st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12), st.binary(max_size=300), max_size=12)


@given(messages)
def test_decode_gives_back_what_encode_took(message):
    frame = rpc.encode(message)
    assert rpc.decode(frame[4:]) == message


@given(messages)
def test_the_client_encodes_the_same_bytes(message):
    assert client.encode({key.encode(): value for key, value in message.items()}) == rpc.encode(message)


@given(messages)
def test_the_shim_encodes_the_same_bytes(message):
    assert shim.encode({key.encode(): value for key, value in message.items()}) == rpc.encode(message)


def served(frame: bytes) -> socket.socket:
    """A connected socket on which `frame` arrives one byte at a time."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        with theirs:
            for byte in frame:
                theirs.send(bytes([byte]))

    threading.Thread(target=send).start()
    ours.settimeout(5)
    return ours


def test_the_client_reads_a_frame_that_arrives_byte_by_byte():
    message = {"code": b"0", "out": b"\x00\xff" * 50, "err": b""}
    with served(rpc.encode(message)) as connection:
        assert client.receive(connection) == {key.encode(): value for key, value in message.items()}


def test_a_peer_that_broke_off_in_its_answer_has_not_answered_the_client():
    with served(rpc.encode({"code": b"0"})[:-1]) as connection:
        assert client.exchange(connection, {b"op": b"ping"}) is None


@given(st.lists(messages, max_size=4), st.integers(1, 40))
def test_a_stream_is_cut_into_its_messages_wherever_it_is_split(sent, step):
    stream = b"".join(rpc.encode(message) for message in sent)
    reader = rpc.Reader()
    got = [message for at in range(0, len(stream), step) for message in reader.feed(stream[at : at + step])]
    assert got == sent


@given(st.binary(max_size=200))
def test_garbage_is_an_error_and_never_a_message_that_was_not_sent(body):
    try:
        message = rpc.decode(body)
    except CorruptError:
        return
    assert rpc.encode(message)[4:] == body or len(message) < body.count(b"\x00")


def test_a_frame_above_the_limit_is_refused_before_it_is_read():
    with pytest.raises(CorruptError, match="limit"):
        rpc.Reader().feed((rpc.MAX_BYTES + 1).to_bytes(4, "big"))


def test_a_supervisor_inherits_the_same_few_variables_whoever_starts_it():
    assert {name.encode() for name in control.ENV_KEPT} == set(client.ENV_KEPT)
