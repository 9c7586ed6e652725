"""Framed requests and replies over the project's Unix socket.

A frame is four bytes of length (big endian, of all that follows) and then items, each again four bytes of length and the bytes:
key, value, key, value. A message is thus a `dict[str, bytes]`: nothing to parse, nothing to escape, bytes stay bytes (paths and
arguments need not be UTF-8). Lists inside a value are joined with NUL, which neither an argument nor an environment entry can hold.

The islands `client.py` and `shim.py` carry their own copy of `encode` and of the reading loop, because they import nothing of the
package; tests/contract/test_rpc.py holds all of them to the same bytes. Promises: a frame above `MAX_BYTES`, or one whose inner
lengths do not add up, is a `CorruptError` and never a partial message.
"""

from __future__ import annotations

from collections.abc import Mapping

from stretto.errors import CorruptError

MAX_BYTES = 32 * 1024 * 1024
"""Above anything real: an environment and an argv are each limited to 6 MB by Linux."""

Message = dict[str, bytes]


def encode(message: Mapping[str, bytes]) -> bytes:
    """Return the frame of one message."""
    parts: list[bytes] = []
    for key, value in message.items():
        name = key.encode()
        parts += (len(name).to_bytes(4, "big"), name, len(value).to_bytes(4, "big"), value)
    body = b"".join(parts)
    return len(body).to_bytes(4, "big") + body


def decode(body: bytes) -> Message:
    """Return the message in a frame's body (without its leading length).

    Raises:
        CorruptError: the lengths inside do not add up, a key is no ASCII, or a key has no value.
    """
    items: list[bytes] = []
    at = 0
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "big")
        item = body[at + 4 : at + 4 + size]
        if len(item) != size or at + 4 > len(body):
            raise CorruptError("cannot read a message: an item is cut short; the peer is another version or broke off")
        items.append(item)
        at += 4 + size
    if len(items) % 2 or not all(key.isascii() for key in items[::2]):
        raise CorruptError("cannot read a message: keys and values do not pair up")
    return {key.decode("ascii"): value for key, value in zip(items[::2], items[1::2], strict=True)}


class Reader:
    """Cuts a byte stream into messages; feed it whatever the socket gave."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages completed by `data`, in order.

        Raises:
            CorruptError: a frame is larger than `MAX_BYTES` or malformed; the stream cannot be read on.
        """
        self._buffer += data
        messages: list[Message] = []
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big")
            if size > MAX_BYTES:
                raise CorruptError(f"cannot read a message of {size} bytes: the limit is {MAX_BYTES}")
            if len(self._buffer) < 4 + size:
                break
            messages.append(decode(bytes(self._buffer[4 : 4 + size])))
            del self._buffer[: 4 + size]
        return messages
