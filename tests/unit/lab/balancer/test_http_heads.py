"""What is in heads of HTTP/1, where bodies end, and what a load balancer changes."""

from __future__ import annotations

from http import HTTPStatus
from ipaddress import IPv4Address

import pytest

from terway.lab.balancer.http_changes import (
    Exchange,
    asked_mark,
    for_backend,
    for_client,
    led_on,
    mark_of,
    own_answer,
)
from terway.lab.balancer.http_choice import Turns
from terway.lab.balancer.http_heads import (
    End,
    Framing,
    Head,
    MalformedError,
    parse_head,
    request_framing,
    response_framing,
)
from terway.lab.cloud.balancer_view import ForwardedServer
from terway.lab.cloud.http_records import HttpListenerRecord
from terway.lab.cloud.http_view import RequestHandling

CLIENT, VIP = IPv4Address("203.0.113.7"), IPv4Address("198.51.100.1")
ONE, TWO = (
    ForwardedServer(address=IPv4Address(f"192.168.32.{last}"), port=8080, weight=weight)
    for last, weight in ((1, 100), (2, 50))
)
INSERT = HttpListenerRecord(sticky_kind="insert", cookie_timeout_s=60)
SERVER = HttpListenerRecord(sticky_kind="server", cookie="session")
PLAIN = HttpListenerRecord()


def about(http: HttpListenerRecord = PLAIN) -> Exchange:
    return Exchange(
        client=CLIENT,
        client_port=5000,
        address=VIP,
        port=80,
        handling=RequestHandling(balancer_id="lb-1", http=http),
    )


def request(*fields: str) -> Head:
    return parse_head("\r\n".join(("GET /a HTTP/1.1", *fields, "", "")).encode())


def answer(*fields: str, status: int = 200) -> Head:
    return parse_head("\r\n".join((f"HTTP/1.1 {status} Fine", *fields, "", "")).encode())


def test_a_head_is_read_and_written_as_it_came() -> None:
    head = request("Host: shop", "X-A: 1", "x-a: 2")

    assert (head.method, head.target, head.get("X-A"), head.get("X-B")) == ("GET", "/a", "1, 2", "")
    assert head.encode() == b"GET /a HTTP/1.1\r\nHost: shop\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
    assert head.put("x-A", "3").fields == (("Host", "shop"), ("x-A", "3"))


@pytest.mark.parametrize(
    "data",
    [
        b"?\r\n\r\n",
        b"\r\n\r\n",
        b"GET HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno field\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length : 4\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: 1\r\n folded: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: 1\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\nX: 1\r\n\r\n",
        b"HTTP/1.1 fine\r\n\r\n",
        b"HTTP/1.1 2000 Fine\r\n\r\n",
    ],
)
def test_what_is_no_head_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_head(data)


@pytest.mark.parametrize(
    ("head", "asked", "framing"),
    [
        (request(), None, 0),
        (request("Content-Length: 4"), None, 4),
        (request("Transfer-Encoding: chunked"), None, End.CHUNKED),
        (answer(), "GET", End.CLOSE),
        (answer("Content-Length: 4"), "GET", 4),
        (answer("Content-Length: 4"), "HEAD", 0),
        (answer(status=304), "GET", 0),
        (answer("Transfer-Encoding: gzip, chunked"), "GET", End.CHUNKED),
    ],
)
def test_a_body_ends_where_its_head_says(head: Head, asked: str | None, framing: Framing) -> None:
    found = request_framing(head) if asked is None else response_framing(head, asked)

    assert found == framing


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Content-Length: 4", "Content-Length: 5"),
        ("Content-Length: -1",),
        ("Content-Length: " + "9" * 5000,),
        ("Transfer-Encoding: gzip",),
    ],
)
def test_a_body_that_may_end_at_two_places_is_refused(fields: tuple[str, ...]) -> None:
    """Else a request could be smuggled past the load balancer."""
    with pytest.raises(MalformedError):
        request_framing(request(*fields))


def test_backends_are_told_the_client_behind_those_that_it_names() -> None:
    http = HttpListenerRecord(tells_protocol=True, tells_port=True, tells_client_port=True)
    sent = for_backend(
        request("Host: shop", "X-Forwarded-For: 10.0.0.1", "Connection: x-hop", "X-Hop: 1"),
        about(http),
    )

    assert dict(sent.fields) == {
        "Host": "shop",
        "X-Forwarded-For": f"10.0.0.1, {CLIENT}",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Port": "80",
        "X-Forwarded-Client-srcport": "5000",
        "Connection": "close",
    }
    assert "SLB-ID" in dict(for_backend(request(), about(HttpListenerRecord(tells_id=True))).fields)


def test_who_wants_another_protocol_may_have_it() -> None:
    sent = for_backend(request("Connection: Upgrade", "Upgrade: websocket"), about())

    assert (sent.get("Connection"), sent.get("Upgrade")) == ("upgrade", "websocket")


def test_a_cookie_has_the_mark_of_the_backend() -> None:
    mark = mark_of(ONE.address, ONE.port)
    inserted = for_client(answer("Set-Cookie: a=b"), INSERT, mark, stays_open=True)
    marked = for_client(
        answer("Set-Cookie: session=9; Path=/", "Set-Cookie: a=b"), SERVER, mark, stays_open=False
    )

    assert inserted.get("Set-Cookie") == f"a=b, SERVERID={mark};Max-Age=60;Path=/"
    assert marked.get("Set-Cookie") == f"session={mark}; Path=/, a=b"
    assert marked.get("Connection") == "close"
    assert asked_mark(request(f"Cookie: x=1; SERVERID={mark}"), INSERT) == mark
    assert asked_mark(request(f'Cookie: x={{"odd": 1}}; SERVERID="{mark}"'), INSERT) == mark
    assert asked_mark(request(f"Cookie: session={mark}"), SERVER) == mark
    assert asked_mark(request(f"Cookie: session={mark}"), HttpListenerRecord()) == ""


@pytest.mark.parametrize(
    ("host", "port", "place"),
    [
        ("shop:80", 443, "https://shop/a"),
        ("[2001:db8::1]", 8443, "https://[2001:db8::1]:8443/a"),
        ("", 443, f"https://{VIP}/a"),
    ],
)
def test_a_client_is_led_on_to_the_same_place(host: str, port: int, place: str) -> None:
    found = led_on(request(f"Host: {host}"), about(HttpListenerRecord(redirect_port=port)))

    assert (found.status, found.get("Location")) == (HTTPStatus.FOUND, place)


def test_the_load_balancer_has_answers_of_its_own() -> None:
    assert own_answer(HTTPStatus.BAD_GATEWAY).line == "HTTP/1.1 502 Bad Gateway"


def test_requests_go_by_turns_as_weights_say() -> None:
    turns, even = Turns(), Turns()
    order = [turns.order((ONE, TWO), mark="", is_even=False)[0] for _ in range(6)]
    equal = [even.order((ONE, TWO), mark="", is_even=True)[0] for _ in range(6)]

    assert (order.count(ONE), equal.count(ONE)) == (4, 3)


def test_a_mark_is_followed_while_its_backend_takes_anything_new() -> None:
    mark = mark_of(TWO.address, TWO.port)
    ending = ForwardedServer(address=TWO.address, port=TWO.port, weight=0)

    assert Turns().order((ONE, TWO), mark=mark, is_even=False) == (TWO, ONE)
    assert Turns().order((ONE, ending), mark=mark, is_even=False) == (ONE,)
    assert Turns().order((), mark=mark, is_even=False) == ()
