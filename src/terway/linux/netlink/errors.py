"""What the kernel's refusals mean in the project's errors.

Source: include/uapi/asm-generic/errno-base.h; include/uapi/linux/netlink.h for extended acks.
"""

from __future__ import annotations

import errno
import os
import sys

from terway.linux.netlink.codec import NLM_F_ACK_TLVS, NLM_F_CAPPED, attributes, text, u32
from terway.model.errors import BugError, ConflictError, TransientError, UsageError, VpcError

_NLMSGERR_ATTR_MSG = 1

# The state that the request assumed is not there (or is there already).
_CONFLICTS = frozenset(
    {
        errno.EEXIST,
        errno.ENOENT,
        errno.ESRCH,
        errno.ENODEV,
        errno.ENXIO,
        errno.EADDRNOTAVAIL,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENOTCONN,
        errno.ESTALE,
    }
)
_TRANSIENTS = frozenset(
    {errno.EBUSY, errno.EAGAIN, errno.EINTR, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC}
)
_REMEDIES = {
    errno.EPERM: "run with CAP_NET_ADMIN in this network namespace",
    errno.EACCES: "run with CAP_NET_ADMIN in this network namespace",
    errno.EOPNOTSUPP: "this kernel lacks the feature",
    errno.EPROTONOSUPPORT: "this kernel lacks the protocol",
    errno.EAFNOSUPPORT: "this kernel has the address family switched off",
}


def errno_name(code: int) -> str:
    """Return the name of an errno, as rtnetlink's sources spell it."""
    # errorcode has the last of two equal names, ENOTSUP.
    return "EOPNOTSUPP" if code == errno.EOPNOTSUPP else errno.errorcode.get(code, str(code))


def translate(code: int, what: str, detail: str = "") -> VpcError:
    """Return the error for errno `code`, got when trying `what`; `detail` is the kernel's text."""
    name = errno_name(code)
    message = f"{what}: {name} ({os.strerror(code)})"
    if detail:
        message = f"{message}: {detail}"
    if code in _CONFLICTS:
        return ConflictError(message, code=name)
    if code in _TRANSIENTS:
        return TransientError(message, code=name)
    if code in _REMEDIES:
        return UsageError(f"{message}; {_REMEDIES[code]}", code=name)
    return BugError(message, code=name)


def translate_os_error(error: OSError, what: str) -> VpcError:
    """Return the error for a failed system call."""
    return translate(error.errno or errno.EIO, what)


def error_code(body: bytes) -> int:
    """Return the errno of an NLMSG_ERROR; 0 is an acknowledgement."""
    return -int.from_bytes(body[:4], sys.byteorder, signed=True) if body else 0


def error_detail(flags: int, body: bytes) -> str:
    """Return the kernel's own explanation (extended ack), empty when it gave none."""
    if not flags & NLM_F_ACK_TLVS:
        return ""
    quoted = 16 if flags & NLM_F_CAPPED else u32(body[4:8])
    found = attributes(body, 4 + ((quoted + 3) & ~3))
    return text(found.get(_NLMSGERR_ATTR_MSG, b""))
