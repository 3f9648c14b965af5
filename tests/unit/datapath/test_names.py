"""Names and numbers that other tools know."""

from terway.datapath.names import alias_of, host_link_name, host_mac, key_of, pod_mac, table_of
from terway.model.attachment import AttachmentKey, PodRef
from terway.model.ids import ContainerId
from tests.support.attachments import attachment

KEY = AttachmentKey(container_id=ContainerId("c1"), ifname="eth0")


def test_the_host_link_is_named_as_upstream_names_it():
    pod = PodRef(namespace="default", name="client-b6989bf87-2bgtc")

    assert host_link_name(KEY, pod) == "calic95a4947e07"


def test_a_second_interface_of_a_pod_has_a_host_link_of_its_own():
    pod = PodRef(namespace="default", name="a")
    second = AttachmentKey(container_id=KEY.container_id, ifname="eth1")

    assert host_link_name(KEY, pod) != host_link_name(second, pod)


def test_a_container_without_a_pod_is_named_by_its_id():
    other = AttachmentKey(container_id=ContainerId("c2"), ifname="eth0")

    assert host_link_name(KEY, None) != host_link_name(other, None)
    assert len(host_link_name(KEY, None)) == 15


def test_two_sandboxes_of_one_pod_share_the_name_and_differ_in_the_alias():
    first, second = attachment(container_id="old"), attachment(container_id="new")

    assert host_link_name(first.key, first.pod) == host_link_name(second.key, second.pod)
    assert alias_of(first.key) != alias_of(second.key)


def test_macs_are_unicast_locally_administered_and_the_same_every_time():
    for mac in (host_mac(KEY), pod_mac(KEY)):
        assert int(mac[:2], 16) & 0x03 == 0x02
    assert host_mac(KEY) != pod_mac(KEY)
    assert host_mac(KEY) == host_mac(AttachmentKey(container_id=ContainerId("c1"), ifname="eth0"))


def test_the_table_of_an_eni_is_its_ifindex_plus_1000():
    assert table_of(7) == 1007


def test_an_alias_tells_whose_the_link_is():
    assert key_of(alias_of(KEY)) == KEY
    assert [key_of(text) for text in ("", "terway ", "uplink of c1/eth0")] == [None] * 3
