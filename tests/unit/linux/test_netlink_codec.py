"""The bytes of netlink, and what the kernel's answers mean."""

import errno
import struct

import pytest

from terway.linux.netlink import link
from terway.linux.netlink.codec import (
    NLM_F_ACK_TLVS,
    attr,
    attr_str,
    attr_u32,
    attributes,
    message,
    messages,
    nested,
    text,
    u32,
)
from terway.linux.netlink.errors import error_code, error_detail, translate
from terway.model.errors import BugError, ConflictError, TransientError, UsageError
from terway.model.network import LinkSettings


def test_attributes_are_padded_to_four_bytes_and_found_again():
    data = attr_str(1, "eth0") + attr(2, b"\x01\x02\x03\x04\x05\x06") + attr_u32(3, 1500)

    found = attributes(data)

    assert len(data) % 4 == 0
    assert (text(found[1]), found[2].hex(), u32(found[3])) == ("eth0", "010203040506", 1500)


def test_nested_attributes_are_found_inside():
    outer = attributes(nested(18, attr_str(1, "veth"), nested(2, attr_u32(9, 7))))

    inner = attributes(outer[18])
    assert (text(inner[1]), u32(attributes(inner[2])[9])) == ("veth", 7)


@pytest.mark.parametrize("length", [0, 3, 200])
def test_an_attribute_with_an_impossible_length_ends_the_walk(length):
    data = attr_u32(1, 5) + struct.pack("=HH", length, 2) + b"\0\0\0\0"

    assert set(attributes(data)) == {1}


def test_messages_are_split_and_a_truncated_one_is_left_out():
    data = message(16, 2, 7, b"body") + message(17, 0, 8, b"")

    assert list(messages(data + data[:10])) == [(16, 2, 7, b"body"), (17, 0, 8, b"")]


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        (errno.EEXIST, ConflictError, "EEXIST"),
        (errno.ENODEV, ConflictError, "ENODEV"),
        (errno.EBUSY, TransientError, "EBUSY"),
        (errno.EPERM, UsageError, "EPERM"),
        (errno.EOPNOTSUPP, UsageError, "EOPNOTSUPP"),
        (errno.EINVAL, BugError, "EINVAL"),
    ],
)
def test_an_errno_becomes_the_class_that_says_what_to_do(code, kind, name):
    error = translate(code, "route replace 10.0.0.0/8", "no such link")

    assert type(error) is kind
    assert error.code == name
    assert "route replace 10.0.0.0/8" in str(error)
    assert "no such link" in str(error)


def test_the_kernels_own_explanation_is_read_from_an_extended_ack():
    request = message(24, 0, 1, b"12345678")
    body = struct.pack("=i", -errno.EINVAL) + request + attr_str(1, "Invalid prefix")

    assert error_code(body) == errno.EINVAL
    assert error_detail(NLM_F_ACK_TLVS, body) == "Invalid prefix"
    assert error_detail(0, body) == ""


@pytest.mark.parametrize("name", ["", "a" * 16, "a/b", "a b", "a:b", ".", "ä" * 8])
def test_a_name_the_kernel_would_not_take_is_refused_before_it_is_asked(name):
    with pytest.raises(UsageError, match="link name"):
        link.change(LinkSettings(name=name))
