"""What a running command is connected to: other machines, services of this one, ports that it serves. Linux only.

Hides the kernel's tables and that they cannot be read at one moment. Promises: looks, never touches; who is called a stranger was one in
two readings; a process that ends while it is looked at is no error; elsewhere than on Linux nothing is seen.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

from stretto.observe import LISTENS, descendants, own_sockets
from stretto.system import peek

LOOK_UPS = ("/run/systemd/", "/run/nscd/", "/var/run/nscd/", "/var/lib/sss/", "/run/dbus/system_bus_socket", "/dev/log")
"""Where the C library and the like ask for users, hosts and the log: no command depends on that more than on /etc."""
DEBUGGERS = range(9229, 9240)
"""Where node opens its inspector; a second node that finds it taken goes on without."""
NAMES_PORT = 53
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, NLM_F_DUMP = 4, 20, 1, 0x300
UDIAG_SHOW_NAME, UDIAG_SHOW_PEER, UNIX_DIAG_NAME, UNIX_DIAG_PEER = 1, 4, 0, 2
"""Numbers of linux/sock_diag.h, linux/netlink.h and linux/unix_diag.h."""


class Reach(NamedTuple):
    """What a process and its descendants are connected to at one moment."""

    remote: bool = False
    """Something beyond loopback."""
    service: str = ""
    """A service of this machine that is none of them, or a fixed port that one of them serves, in words; "" when there is none."""
    ports: frozenset[int] = frozenset()
    """The ports that they have listened on, at this look or an earlier one."""


class _Row(NamedTuple):
    """One line of a table in /proc/net."""

    table: str
    local: bytes
    remote: bytes
    state: bytes
    inode: bytes

    @property
    def port(self) -> int:
        return _port(self.local)

    @property
    def peer(self) -> int:
        return _port(self.remote)

    @property
    def waits(self) -> bool:
        """It takes whoever comes: a listening socket, or one for datagrams that is connected to nobody."""
        return self.state == LISTENS if self.table.startswith("tcp") else not self.peer


def reach(pid: int, ports: frozenset[int] = frozenset()) -> Reach:
    """Look at the sockets that a process and its descendants hold open right now.

    A service is who listens on loopback or on a path and is not one of them: a database, a container engine. Name look-ups do not count. A
    port is fixed when the kernel would not choose it: a second run, or the user's own server, would want the same one.

    The tables and the processes cannot be read at one moment, and of a connection that ended the kernel forgets whose it was. So a
    stranger is at the other end only when a socket that waits at that port, or the very other end, stands in two readings of the
    tables and none of them is seen to hold it in between.

    Args:
        ports: what they were seen to listen on before: the other end of a connection there is one of their own, though closed by now.
    """
    inodes = _sockets(pid)
    if not inodes:
        return Reach(ports=ports)
    rows = _rows(pid)
    ports |= {row.port for row in rows if row.inode in inodes and row.waits and row.port}
    if any(row.inode in inodes and not is_local(row.remote.split(b":")[0]) for row in rows):
        return Reach(remote=True, ports=ports)
    fixed = [row.port for row in rows if row.inode in inodes and row.table.startswith("tcp") and row.waits]
    fixed = [port for port in fixed if port not in _ports_of_the_kernel() and port not in DEBUGGERS]
    if fixed:
        return Reach(service=f"serve the fixed port {fixed[0]}", ports=ports)
    asking = [row for row in rows if row.inode in inodes and row.peer and row.port not in ports and row.peer not in (*ports, NAMES_PORT)]
    if asking:
        inodes |= _sockets(pid)
        again = _rows(pid)
        both = {row.inode for row in rows} & {row.inode for row in again} - inodes - {b"0"}
        strangers = [row for row in again if row.inode in both]
        ports |= {row.port for row in again if row.inode in inodes and row.waits and row.port}
        for row in asking:
            if row.peer not in ports and any(_other_end(row, other) for other in strangers):
                return Reach(service=f"use a service of this machine (port {row.peer})", ports=ports)
    path = next(iter(_paths_reached(inodes)), "")
    return Reach(service=f"use a service of this machine ({path})" if path else "", ports=ports)


def _other_end(row: _Row, other: _Row) -> bool:
    """Say whether a socket is the other end of a connection, or waits where that leads to."""
    if row.table[:3] != other.table[:3] or other.port != row.peer:
        return False
    return other.waits or other.peer == row.port


def _rows(pid: int) -> list[_Row]:
    """Read the tables of the network that a process is in."""
    rows = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in peek(f"/proc/{pid}/net/{table}").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9:
                rows.append(_Row(table, fields[1], fields[2], fields[3], fields[9]))
    return rows


def _sockets(pid: int) -> set[bytes]:
    return {inode for each in [pid, *descendants(pid)] for inode in own_sockets(each)}


def _port(address: bytes) -> int:
    return int(address.rpartition(b":")[2] or b"0", 16)


def _ports_of_the_kernel() -> range:
    words = peek("/proc/sys/net/ipv4/ip_local_port_range").split()
    return range(int(words[0]), int(words[1]) + 1) if len(words) == 2 else range(1 << 16)


def _paths_reached(inodes: Collection[bytes]) -> Iterator[str]:
    """Yield the absolute paths of the sockets that those with these inodes are connected to and that are not among them.

    By sock_diag(7), which tells the other end of a Unix socket; where that cannot be asked nothing is yielded.
    """
    names: dict[int, str] = {}
    peers: dict[int, int] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(1.0)
            ask = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, UDIAG_SHOW_NAME | UDIAG_SHOW_PEER, 0, 0)
            kernel.send(struct.pack("=IHHII", 16 + len(ask), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + ask)
            while _read_unix(kernel.recv(1 << 17), names, peers):
                pass
    except (OSError, AttributeError, struct.error):
        return
    for inode in sorted(map(int, inodes)):
        other = peers.get(inode, 0)
        name = names.get(other, "")
        if str(other).encode() not in inodes and name.startswith("/") and not name.startswith(LOOK_UPS):
            yield name


def _read_unix(data: bytes, names: dict[int, str], peers: dict[int, int]) -> bool:
    """Take in one datagram of a dump; False when it was the last one."""
    at = 0
    while at + 16 <= len(data):
        size, kind = struct.unpack_from("=IH", data, at)
        if kind != SOCK_DIAG_BY_FAMILY or size < 32:
            return False
        inode = struct.unpack_from("=I", data, at + 20)[0]
        attribute, end = at + 32, at + size
        while attribute + 4 <= end:
            length, what = struct.unpack_from("=HH", data, attribute)
            value = data[attribute + 4 : attribute + max(length, 4)]
            if what == UNIX_DIAG_NAME:
                names[inode] = os.fsdecode(value.rstrip(b"\0"))
            elif what == UNIX_DIAG_PEER:
                peers[inode] = struct.unpack("=I", value)[0]
            attribute += max((length + 3) & ~3, 4)
        at += (size + 3) & ~3
    return True


def is_local(address: bytes) -> bool:
    """Say whether an address of /proc/net (hex, each 32 bits in host order) is loopback or unset."""
    if len(address) == 8:
        return address.endswith(b"7F") or address == b"00000000"
    return address in (b"0" * 32, b"0" * 24 + b"01000000") or (address[:24] == b"0000000000000000FFFF0000" and address.endswith(b"7F"))
