"""What annotations say of HTTP and HTTPS, and what is refused of it with its remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.loadbalancer.annotations import Settings, parse_annotations
from terway.loadbalancer.said import PREFIXES
from terway.loadbalancer.values import Cluster, Port, Service
from terway.loadbalancer.wanted import WantedListener, wanted_of
from terway.loadbalancer.web_annotations import OF_HTTP, OF_HTTPS, WebSettings
from terway.model.address import Family
from terway.model.balancer import (
    BalancerProduct,
    CheckKind,
    Forwarding,
    HealthCheck,
    ListenerProtocol,
)
from terway.model.errors import UsageError
from terway.model.http_listener import (
    CookieKind,
    HttpForwarding,
    StickySession,
    TlsTermination,
)
from terway.model.ids import VpcId

TCP, HTTP, HTTPS = ListenerProtocol.TCP, ListenerProtocol.HTTP, ListenerProtocol.HTTPS
CLUSTER = Cluster(cluster_id="c1", vpc_id=VpcId("vpc-1"))
BOTH = {"protocol-port": "https:443,http:80", "cert-id": "cert-1"}
STICKY = {"sticky-session": "on", "sticky-session-type": "insert", "cookie-timeout": "60"}
PLAIN = WebSettings(
    protocols=((HTTPS, 443), (HTTP, 80)), tls=TlsTermination(certificate_id="cert-1")
)
SERVICE = Service(
    namespace="default",
    name="web",
    uid="6f1a",
    ports=tuple(Port(name="", protocol=TCP, port=port) for port in (80, 443, 22)),
    families=(Family.V4,),
)


def parsed(**said: str) -> Settings:
    annotations = {PREFIXES[0] + name.replace("_", "-"): value for name, value in said.items()}
    return parse_annotations(annotations, BalancerProduct.CLB)


def refusal(**said: str) -> str:
    with pytest.raises(UsageError) as caught:
        parsed(**said)
    return str(caught.value)


def listeners(settings: Settings) -> dict[int, WantedListener]:
    (wanted,) = wanted_of(SERVICE, settings, (), CLUSTER)
    return {one.port: one for one in wanted.listeners}


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ({}, PLAIN),
        ({"forward-port": "80:443"}, replace(PLAIN, redirects=((80, 443),))),
        ({"health-check-flag": "on"}, replace(PLAIN, is_checked=True)),
        ({"health-check-timeout": "9"}, replace(PLAIN, check_timeout_s=9)),
        ({"idle-timeout": "30"}, replace(PLAIN, http=HttpForwarding(idle_s=30))),
        ({"request-timeout": "180"}, replace(PLAIN, http=HttpForwarding(request_s=180))),
        (
            {"xforwardedfor-proto": "on"},
            replace(PLAIN, http=HttpForwarding(tells_protocol=True)),
        ),
        ({"xforwardedfor-slbport": "on"}, replace(PLAIN, http=HttpForwarding(tells_port=True))),
        (
            {"xforwardedfor-clientsrcport": "on"},
            replace(PLAIN, http=HttpForwarding(tells_client_port=True)),
        ),
        (
            STICKY,
            replace(
                PLAIN,
                http=HttpForwarding(sticky=StickySession(kind=CookieKind.INSERT, timeout_s=60)),
            ),
        ),
        (
            {**STICKY, "sticky-session-type": "server", "cookie": "JSESSIONID"},
            replace(
                PLAIN,
                http=HttpForwarding(
                    sticky=StickySession(kind=CookieKind.SERVER, cookie="JSESSIONID")
                ),
            ),
        ),
        ({**STICKY, "sticky-session": "off"}, PLAIN),
        (
            {"tls-cipher-policy": "tls_cipher_policy_1_2", "http2-enabled": "off"},
            replace(
                PLAIN,
                tls=TlsTermination(
                    certificate_id="cert-1", policy="tls_cipher_policy_1_2", speaks_http2=False
                ),
            ),
        ),
    ],
)
def test_each_annotation_of_http_means_what_it_says(
    said: dict[str, str], meaning: WebSettings
) -> None:
    assert parsed(**BOTH, **said).web == meaning


def test_blanks_capitals_and_a_word_said_twice_change_no_protocol() -> None:
    odd = {**BOTH, "protocol-port": " HTTPS : 443 , http:80,, http:80"}

    assert parsed(**odd).web == PLAIN


def test_it_may_lead_on_to_a_listener_of_somebody_else_at_an_instance_that_was_there() -> None:
    said = {"protocol-port": "http:80", "forward-port": "80:443", "id": "lb-1"}

    assert parsed(**said).web.redirects == ((80, 443),)


def test_ports_that_are_not_named_stay_what_the_service_says() -> None:
    found = listeners(parsed(**BOTH))

    assert {port: one.protocol for port, one in found.items()} == {80: HTTP, 443: HTTPS, 22: TCP}
    assert found[22].http is None
    assert found[443].group_name == "k8s/HTTPS-443/web/default/c1"


def test_a_listener_has_what_its_protocol_knows() -> None:
    found = listeners(
        parsed(
            **BOTH,
            **STICKY,
            **{
                "forward-port": "80:443",
                "connection-drain": "on",
                "persistence-timeout": "60",
                "health-check-flag": "on",
                "health-check-uri": "/ok",
                "health-check-timeout": "9",
            },
        )
    )
    sticky = StickySession(kind=CookieKind.INSERT, timeout_s=60)
    check = HealthCheck(kind=CheckKind.HTTP, uri="/ok", timeout_s=9)

    assert (found[22].forwarding.drain_s, found[22].forwarding.persistence_s) == (300, 60)
    assert found[443].forwarding == Forwarding(check=check)
    assert found[443].http == HttpForwarding(
        sticky=sticky, tls=TlsTermination(certificate_id="cert-1")
    )
    assert found[80].http == HttpForwarding(redirect_port=443)
    assert not found[80].forwarding.check.is_on


def test_nobody_is_asked_at_ports_of_http_unless_somebody_says_so() -> None:
    found = listeners(parsed(**BOTH, **{"health-check-switch": "on"}))

    assert {port: one.forwarding.check.is_on for port, one in found.items()} == {
        80: False,
        443: False,
        22: True,
    }


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ({"protocol-port": "https"}, "has 'https': write tcp, udp, http or https and a port"),
        ({"protocol-port": "quic:80"}, "has 'quic:80': write tcp, udp, http or https"),
        ({"protocol-port": "http:0"}, "has 'http:0': write tcp"),
        ({"protocol-port": "http:65536"}, "has 'http:65536': write tcp"),
        ({"protocol-port": "http:80,tcp:80"}, "names 80 twice: leave one"),
        (
            {"protocol-port": "https:443"},
            "'https:443' has https at 443, which needs a certificate: upload one",
        ),
        ({"protocol-port": "http:80", "cert-id": "c"}, "no port is of HTTPS; name one by"),
        ({**BOTH, "forward-port": "80"}, "has '80': write two ports, such as 80:443"),
        ({**BOTH, "forward-port": "81:443"}, "leads on from 81: add http:81 to protocol-port"),
        ({**BOTH, "forward-port": "80:444"}, "leads on to 444: add https:444 to protocol-port"),
        ({**BOTH, "forward-port": "80:80"}, "has '80:80': write two ports, such as 80:443"),
        (
            {"protocol-port": "http:80,https:443,https:444", "forward-port": "80:443,80:444"},
            "leads on from 80 twice: leave one",
        ),
        ({**BOTH, "scheduler": "sch"}, "is not for HTTP"),
        ({**BOTH, "sticky-session": "on"}, "needs sticky-session-type: insert, or server"),
        (
            {**BOTH, "sticky-session": "on", "sticky-session-type": "insert"},
            "needs cookie-timeout, 1 to 86400 seconds",
        ),
        (
            {**BOTH, "sticky-session": "on", "sticky-session-type": "server"},
            "needs cookie, the name of one",
        ),
        ({**BOTH, "cookie": "$a"}, "is no name of a cookie"),
        ({**BOTH, "cookie": "\N{GREEK SMALL LETTER ALPHA}"}, "is no name of a cookie"),
        ({**BOTH, "idle-timeout": "61"}, "is no number from 1 to 60"),
        ({**BOTH, "idle-timeout": "9" * 5000}, "is no number from 1 to 60"),
        ({**BOTH, "tls-cipher-policy": "best"}, "is none of tls_cipher_policy_1_0"),
    ],
)
def test_what_is_wrong_of_http_is_refused_with_its_remedy(said: dict[str, str], rule: str) -> None:
    assert rule in refusal(**said)


@pytest.mark.parametrize("name", [*OF_HTTP, *OF_HTTPS])
def test_what_has_no_port_to_be_for_is_refused(name: str) -> None:
    assert f"{name}: '1' has no effect: no port is of HTTP" in refusal(**{name: "1"})


def test_a_port_that_the_service_does_not_have_is_refused() -> None:
    settings = parsed(**{"protocol-port": "http:8080"})

    with pytest.raises(UsageError, match="http:8080: the Service has no port 8080 of TCP"):
        wanted_of(SERVICE, settings, (), CLUSTER)
