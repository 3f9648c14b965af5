"""What terwayd puts on the host and keeps for its next start; the lock; the read-only pages."""

from __future__ import annotations

import os

import pytest

from terway.agent.install import install_conflist, install_plugin
from terway.agent.instance import Allowance, InstanceFile, Known, Place
from terway.agent.lock import open_lock
from terway.agent.node_config import KeptPatch, read_files
from terway.agent.readonly import Page, choose_page, encode_page, open_readonly
from terway.model.eni import InstanceLimits
from terway.model.errors import UsageError
from terway.model.ids import InstanceId, RegionId, SecurityGroupId, VSwitchId, ZoneId

KNOWN = Known(
    place=Place(
        instance_id=InstanceId("i-1"),
        instance_type="ecs.g7.xlarge",
        region_id=RegionId("cn-hangzhou"),
        zone_id=ZoneId("cn-hangzhou-i"),
        vswitch_id=VSwitchId("vsw-1"),
    ),
    allowance=Allowance(
        limits=InstanceLimits(
            instance_type="ecs.g7.xlarge",
            eni_quantity=4,
            eni_private_ip_address_quantity=15,
            eni_ipv6_address_quantity=15,
        ),
        security_group_ids=(SecurityGroupId("sg-1"),),
    ),
)


def test_what_was_learnt_of_the_instance_comes_back(tmp_path):
    file = InstanceFile(tmp_path / "instance.json")
    assert file.read() is None

    file.write(KNOWN)

    assert file.read() == KNOWN


def test_a_damaged_instance_file_is_none(tmp_path):
    path = tmp_path / "instance.json"
    path.write_text('{"place": {}}')

    assert InstanceFile(path).read() is None


def test_the_nodes_own_part_is_kept_and_goes_with_its_label(tmp_path):
    kept = KeptPatch(tmp_path / "node_conf.json")
    kept.write('{"max_pool_size": 1}')
    assert kept.read() == '{"max_pool_size": 1}'

    kept.write(None)

    assert kept.read() is None


def test_the_keys_of_eni_config_are_the_files_beside_the_configuration(tmp_path):
    (tmp_path / "eni_conf").write_text("{}")
    (tmp_path / "10-terway.conf").write_text("[]")
    (tmp_path / "somebody-elses").write_text("")

    assert read_files(tmp_path / "eni_conf") == {"eni_conf": "{}", "10-terway.conf": "[]"}


def test_a_missing_configuration_says_what_to_do(tmp_path):
    with pytest.raises(UsageError, match="mount the ConfigMap eni-config"):
        read_files(tmp_path / "eni_conf")


def test_the_plugin_is_installed_once_and_again_when_it_differs(tmp_path):
    assert install_plugin(tmp_path)
    assert not install_plugin(tmp_path)
    (tmp_path / "terway").write_bytes(b"older")

    assert install_plugin(tmp_path)
    assert (tmp_path / "terway").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["terway"]


def test_the_conflist_replaces_the_single_configuration(tmp_path):
    (tmp_path / "10-terway.conf").write_text("{}")

    install_conflist(tmp_path / "10-terway.conflist", b"{}")

    assert [path.name for path in tmp_path.iterdir()] == ["10-terway.conflist"]


async def test_a_second_terwayd_is_refused_and_a_dead_ones_lock_is_free(tmp_path):
    async with open_lock(tmp_path / "lock"):
        with pytest.raises(UsageError, match="another terwayd holds") as refused:
            async with open_lock(tmp_path / "lock", patience_s=0.0):
                pass
    assert f"process {os.getpid()}:" in str(refused.value)
    async with open_lock(tmp_path / "lock", patience_s=0.0):
        pass


async def test_two_terwayds_of_one_network_namespace_are_refused_whatever_their_folders(tmp_path):
    (tmp_path / "other").mkdir()
    async with open_lock(tmp_path / "lock"):
        with pytest.raises(UsageError, match="runs in this network namespace") as refused:
            async with open_lock(tmp_path / "other/lock", patience_s=0.0):
                pass
    assert f"process {os.getpid()}," in str(refused.value)
    async with open_lock(tmp_path / "other/lock", patience_s=0.0):
        pass


PAGES = {"/ok": lambda: Page(body=b"yes")}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /ok HTTP/1.1\r\n\r\n", 200),
        (b"GET /ok?x=1 HTTP/1.0\r\n\r\n", 200),
        (b"GET /other HTTP/1.0\r\n\r\n", 404),
        (b"POST /ok HTTP/1.0\r\n\r\n", 400),
        (b"\xff\xfe\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.0\r\n\r\n", 404),
    ],
)
def test_only_what_is_there_is_answered(head, status):
    assert choose_page(head, PAGES).status == status


def test_an_answer_says_how_long_it_is():
    assert encode_page(Page(body=b"yes")).endswith(
        b"Content-Length: 3\r\nConnection: close\r\n\r\nyes"
    )


@pytest.mark.parametrize("listen", ["", "unix://", "tcp://", "tcp://host", "/run/x", "http://x:1"])
async def test_a_listener_that_is_no_address_is_refused(listen):
    with pytest.raises(UsageError, match="--readonly-listen"):
        async with open_readonly(listen, PAGES):
            pass
