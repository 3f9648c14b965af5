"""Does a packet of a member ENI leave by the trunk with its own tag?"""

from __future__ import annotations

from collections.abc import Iterator

from terway.cli.hops import RESTART_AGENT, Ground, Hop, fail, ok
from terway.datapath.traffic_words import traffic_name
from terway.datapath.trunk import members_of
from terway.model.attachment import Attachment
from terway.model.network import Link


def tag_of(ground: Ground, attachment: Attachment, trunk: Link) -> Iterator[Hop]:
    """Yield what becomes of the pod's packets at the trunk; nothing for who is no member."""
    view = ground.view(attachment)
    for member in members_of(attachment, trunk.name):
        name = traffic_name(member)
        missing = [one for one in view.differences if name in one] if view is not None else []
        if missing:
            text = f"{'; '.join(missing)}. Untagged, the VPC drops it"
            yield fail("node", "tag", text, RESTART_AGENT)
            continue
        who = f"as {attachment.lease.eni_id}: VLAN id {member.vlan_id}, MAC {member.mac}"
        yield ok("node", "tag", f"{trunk.name} carries it {who}")
