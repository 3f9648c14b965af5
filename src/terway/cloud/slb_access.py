"""Which calls keep CLB's access control lists? Source: OpenAPI SLB 2014-05-15."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from terway.cloud import access_wire as answers
from terway.cloud.balancer_calls import BalancerCalls, in_batches
from terway.cloud.query import Value
from terway.cloud.wire import Done
from terway.model.balancer import AccessList, AccessListId

ACL_PAGE_SIZE = 50
ENTRIES_PER_CALL = 50


class SlbAccessCalls(BalancerCalls):
    """Access control lists, and the ranges in them."""

    async def list_access(self, *, name: str = "") -> tuple[AccessList, ...]:
        """Return the access control lists, with their entries: one call, and some each."""
        parameters: dict[str, Value] = {"AclName": name or None, "PageSize": ACL_PAGE_SIZE}
        found: list[answers.Acl] = []
        page = answers.Acls(total_count=1)
        number = 1
        while len(found) < page.total_count:
            page = await self.call(
                "DescribeAccessControlLists", {**parameters, "PageNumber": number}, answers.Acls
            )
            found += page.acls.acl
            number += 1
        return tuple([await self.describe_access(AccessListId(one.acl_id)) for one in found])

    async def describe_access(self, acl_id: AccessListId) -> AccessList:
        """Return an access control list with its entries."""
        entries: list[answers.AclEntry] = []
        number = 1
        while True:
            parameters: dict[str, Value] = {
                "AclId": acl_id,
                "Page": number,
                "PageSize": ACL_PAGE_SIZE,
            }
            page = await self.call("DescribeAccessControlListAttribute", parameters, answers.Acl)
            entries += page.acl_entrys.acl_entry
            if len(entries) >= page.total_acl_entry:
                return answers.parse_acl(page, tuple(entries))
            number += 1

    async def create_access(self, *, name: str, version: int) -> AccessListId:
        """Make an empty access control list. Not safe to repeat: list, and find it by name."""
        parameters: dict[str, Value] = {"AclName": name, "AddressIPVersion": f"ipv{version}"}
        answer = await self.call("CreateAccessControlList", parameters, answers.NewAcl)
        return AccessListId(answer.acl_id)

    async def delete_access(self, acl_id: AccessListId) -> None:
        """Delete an access control list. Raises ConflictError while a listener has it."""
        await self.call_until_gone("DeleteAccessControlList", {"AclId": acl_id})

    async def add_entries(self, acl_id: AccessListId, ranges: Iterable[str], comment: str) -> None:
        """Add ranges, 50 a call. Safe to repeat."""
        await self._change_entries("AddAccessControlListEntry", acl_id, ranges, comment)

    async def remove_entries(self, acl_id: AccessListId, ranges: Iterable[str]) -> None:
        """Remove ranges, 50 a call. Safe to repeat."""
        await self._change_entries("RemoveAccessControlListEntry", acl_id, ranges, "")

    async def _change_entries(
        self, action: str, acl_id: AccessListId, ranges: Iterable[str], comment: str
    ) -> None:
        for batch in in_batches(tuple(ranges), ENTRIES_PER_CALL):
            entries = [{"entry": one, "comment": comment} for one in batch]
            text = msgspec.json.encode(entries).decode()
            await self.call(action, {"AclId": acl_id, "AclEntrys": text}, Done)
