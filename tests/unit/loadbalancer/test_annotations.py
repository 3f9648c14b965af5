"""What the annotations of a Service mean, each of them, and which are refused."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from terway.loadbalancer.annotations import (
    BACKEND_TYPE,
    NOT_DONE,
    NOT_DONE_OF_NLB,
    ONLY_OF,
    SCHEDULERS,
    Settings,
    balancer_id_of,
    parse_annotations,
)
from terway.loadbalancer.said import PREFIXES
from terway.loadbalancer.web_annotations import OF_HTTP, OF_HTTPS
from terway.model.balancer import BalancerProduct, CheckKind, Forwarding, HealthCheck
from terway.model.errors import UsageError

CLB, NLB = BalancerProduct.CLB, BalancerProduct.NLB
GUIDE = Path(__file__).parents[3] / "docs" / "loadbalancer.md"
DEFAULT = Settings()


def checked(**changes: Any) -> Settings:
    return replace(DEFAULT, forwarding=Forwarding(check=replace(HealthCheck(), **changes)))


def forwarded(**changes: Any) -> Settings:
    return replace(DEFAULT, forwarding=replace(Forwarding(), **changes))


def said(**changes: Any) -> Settings:
    return replace(DEFAULT, **changes)


MEANINGS = {
    "id": ("lb-1", said(balancer_id="lb-1")),
    "force-override-listeners": ("true", said(overrides_listeners=True)),
    "name": ("shop", said(name="shop")),
    "address-type": ("intranet", said(is_internet=False)),
    "ip": ("192.168.0.9", said(address="192.168.0.9")),
    "spec": ("slb.s2.small", said(spec="slb.s2.small")),
    "instance-charge-type": ("PayBySpec", said(charge_type="PayBySpec")),
    "charge-type": ("paybybandwidth", said(internet_charge_type="paybybandwidth")),
    "bandwidth": ("5", said(bandwidth=5)),
    "vswitch-id": ("vsw-1", said(vswitch_id="vsw-1")),
    "zone-maps": ("z-a:vsw-1, z-b:vsw-2", said(zones=(("z-a", "vsw-1"), ("z-b", "vsw-2")))),
    "hostname": ("shop.example.com", said(hostname="shop.example.com")),
    "delete-protection": ("off", said(is_protected_from_deletion=False)),
    "modification-protection": ("NonProtection", said(is_protected_from_console=False)),
    "resource-group-id": ("rg-1", said(resource_group_id="rg-1")),
    "additional-resource-tags": ("a=1,b", said(tags=(("a", "1"), ("b", "")))),
    "scheduler": ("tch", forwarded(scheduler="tch")),
    "connection-drain": ("on", forwarded(drain_s=300)),
    "connection-drain-timeout": ("30", DEFAULT),  # without draining it says nothing
    "persistence-timeout": ("60", forwarded(persistence_s=60)),
    "health-check-switch": ("off", checked(is_on=False)),
    "health-check-flag": ("off", checked(is_on=False)),
    "health-check-type": ("http", checked(kind=CheckKind.HTTP)),
    "health-check-connect-port": ("8081", checked(port=8081)),
    "health-check-connect-timeout": ("9", checked(timeout_s=9)),
    "health-check-interval": ("7", checked(interval_s=7)),
    "healthy-threshold": ("4", checked(healthy_after=4)),
    "unhealthy-threshold": ("5", checked(unhealthy_after=5)),
    "health-check-domain": ("shop", checked(domain="shop")),
    "health-check-uri": ("/ok", checked(uri="/ok")),
    "health-check-method": ("get", checked(method="get")),
    "health-check-httpcode": (
        "http_2xx,http_3xx",
        checked(http_codes=("http_2xx", "http_3xx")),
    ),
    "acl-id": ("acl-1", said(acl_id="acl-1")),
    "acl-type": ("black", said(acl_is_allowed=False)),
    "acl-status": ("on", said(has_acl=True)),
    "server-group-type": ("Ip", said(groups_are_of_addresses=True)),
    "security-group-ids": ("sg-1, sg-2,sg-1", said(security_group_ids=("sg-1", "sg-2"))),
}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", MEANINGS)
def test_each_annotation_means_what_it_says(name: str, prefix: str) -> None:
    value, meaning = MEANINGS[name]
    product = NLB if name in ONLY_OF[NLB] else CLB

    assert parse_annotations({prefix + name: value}, product) == meaning


def test_the_name_of_today_counts_where_both_are_said() -> None:
    new, old = PREFIXES

    assert parse_annotations({f"{old}id": "lb-old", f"{new}id": "lb-new"}, CLB).balancer_id == (
        "lb-new"
    )


def test_draining_takes_as_long_as_is_said() -> None:
    asked = {f"{PREFIXES[0]}connection-drain": "on", f"{PREFIXES[0]}connection-drain-timeout": "30"}

    assert parse_annotations(asked, NLB).forwarding.drain_s == 30


@pytest.mark.parametrize("name", NOT_DONE)
@pytest.mark.parametrize("product", BalancerProduct)
def test_what_is_not_done_is_refused_by_its_name(name: str, product: BalancerProduct) -> None:
    with pytest.raises(UsageError, match=f"{name}: 'x' is not done here: take it out"):
        parse_annotations({PREFIXES[1] + name: "x"}, product)


@pytest.mark.parametrize("name", NOT_DONE_OF_NLB)
def test_what_an_nlb_has_for_tcpssl_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: 'x' is not done here for NLBs, nor is tcpssl"):
        parse_annotations({PREFIXES[0] + name: "x"}, NLB)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("delete-protection", "maybe", "is none of on, true, off, false"),
        ("address-type", "public", "is none of internet, intranet"),
        ("scheduler", "wlc", "is none of wrr, rr, sch, tch"),  # NLB's
        ("bandwidth", "0", "is no number from 1 to 5120"),
        ("bandwidth", "much", "is no number from 1 to 5120"),
        ("health-check-interval", "51", "is no number from 1 to 50"),
        ("healthy-threshold", "1", "is no number from 2 to 10"),
        ("persistence-timeout", "3601", "is no number from 0 to 3600"),
        ("connection-drain-timeout", "-1", "is no number from 0 to 900"),
        ("zone-maps", "z-a", "zone-maps: 'z-a' is no pair with ':' between"),
        ("zone-maps", "z:v,z-a", "'z:v,z-a' has 'z-a', which is no pair with ':' between"),
        ("additional-resource-tags", "=x", "'=x' is no pair with '=' between"),
    ],
)
def test_what_is_wrong_is_refused_with_its_rule(name: str, value: str, rule: str) -> None:
    key = PREFIXES[0] + name

    product = NLB if name in ONLY_OF[NLB] else CLB

    with pytest.raises(UsageError) as caught:
        parse_annotations({key: value}, product)

    assert rule in str(caught.value)
    assert key in str(caught.value)
    assert caught.value.field == key


def test_backends_are_pods_or_it_is_refused() -> None:
    assert parse_annotations({BACKEND_TYPE: "eni"}, CLB) == DEFAULT
    with pytest.raises(UsageError, match="backends are pods by their own addresses"):
        parse_annotations({BACKEND_TYPE: "ecs"}, CLB)


def test_an_instance_that_is_named_is_known_whatever_else_is_said() -> None:
    wrong = {f"{PREFIXES[0]}id": " lb-1 ", f"{PREFIXES[0]}scheduler": "best"}

    assert balancer_id_of(wrong) == "lb-1"
    assert balancer_id_of({}) == ""


@pytest.mark.parametrize(
    ("product", "name"), [(one, name) for one, names in ONLY_OF.items() for name in names]
)
def test_what_the_other_product_has_is_refused(product: BalancerProduct, name: str) -> None:
    value, _ = MEANINGS.get(name, ("on", DEFAULT))
    other = NLB if product is CLB else CLB

    with pytest.raises(UsageError, match=f"{name}: .* is for {product.name}s.*take it out"):
        parse_annotations({PREFIXES[0] + name: value}, other)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_name_that_nobody_knows_is_refused_with_the_one_that_is_like_it(prefix: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_annotations({f"{prefix}bandwith": "3"}, CLB)

    assert str(caught.value) == (
        f"annotation {prefix}bandwith: '3' is not known here: did you mean {PREFIXES[0]}bandwidth? "
        "Correct it, or take it out"
    )


@pytest.mark.parametrize(("name", "product"), [("like-nothing", CLB), ("bandwith", NLB)])
def test_a_name_that_is_like_none_of_its_product_is_to_be_taken_out(
    name: str, product: BalancerProduct
) -> None:
    with pytest.raises(UsageError, match=f"{name}: '3' is not known here: take it out$"):
        parse_annotations({PREFIXES[0] + name: "3"}, product)


def test_all_that_is_refused_is_told_at_once() -> None:
    wrong = {"bandwith": "3", "scheduler": "best", "cps": "9", "zone-maps": "z:v", "id": "lb-1"}

    with pytest.raises(UsageError) as caught:
        parse_annotations(
            {PREFIXES[0] + name: value for name, value in wrong.items()} | {BACKEND_TYPE: "ecs"},
            CLB,
        )

    told = str(caught.value).split("; ")
    assert [one.partition(":")[0].rpartition("-")[2] for one in told[:4]] == [
        "bandwith", "scheduler", "cps", "maps",
    ]  # fmt: skip
    assert told[4].startswith(f"annotation {BACKEND_TYPE}: 'ecs'")
    assert caught.value.field == f"{PREFIXES[0]}bandwith"


def test_annotations_of_others_are_theirs() -> None:
    assert parse_annotations({"example.com/scheduler": "best"}, CLB) == DEFAULT


def test_each_setting_has_an_annotation() -> None:
    changed = {
        field.name
        for _, meaning in MEANINGS.values()
        for field in fields(Settings)
        if getattr(meaning, field.name) != getattr(DEFAULT, field.name)
    }

    # What is said of HTTP needs a port of it: test_web_annotations has that.
    assert changed == {field.name for field in fields(Settings)} - {"web"}


def test_the_guide_names_each_annotation_once_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z-0-9]+)`", GUIDE.read_text(), flags=re.MULTILINE)

    assert sorted(rows) == sorted((*MEANINGS, "protocol-port", *OF_HTTP, *OF_HTTPS))
    (refused,) = re.findall(r"^Refused: (.*?)\.\n", GUIDE.read_text(), flags=re.M | re.S)
    assert re.findall(r"`([a-z-0-9]+)`", refused) == list(NOT_DONE)


def test_schedulers_are_those_of_the_products() -> None:
    assert set(SCHEDULERS) == set(BalancerProduct)
