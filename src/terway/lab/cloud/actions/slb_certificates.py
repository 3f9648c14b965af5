"""CLB: server certificates, for listeners of HTTPS.

Source: OpenAPI SLB 2014-05-15, the actions' own pages. Only what is uploaded is emulated, not what
the certificate service has.
"""

from __future__ import annotations

from typing import Any

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.actions.slb_words import tag_set
from terway.lab.cloud.certificates import read_certificate
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.http_records import CertificateRecord
from terway.lab.cloud.refusal import Refusal
from terway.lab.cloud.requests import Regional, Tag
from terway.lab.cloud.world import World, utc_seconds


class UploadServerCertificate(Regional):
    """The parameters."""

    server_certificate: str
    private_key: str
    server_certificate_name: str = ""
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()


def upload(world: World, request: UploadServerCertificate) -> Answer:
    """Keep a certificate with its key. Raises Refusal when they are no pair."""
    found = read_certificate(request.server_certificate, request.private_key)
    certificate_id = world.ids.new("cert")
    made = CertificateRecord(
        id=certificate_id,
        serial=world.ids.serial(),
        name=request.server_certificate_name or certificate_id,
        certificate_pem=request.server_certificate,
        key_pem=request.private_key,
        fingerprint=found.fingerprint,
        common_name=found.common_name,
        names=found.names,
        created_at=world.now(),
        expires_at=found.expires_at,
        resource_group_id=request.resource_group_id,
        tags=check_tags(world, request.tag),
    )
    world.state.balancing.put(made)
    return _described(world, made)


def _described(world: World, one: CertificateRecord) -> dict[str, Any]:
    return {
        "ServerCertificateId": one.id,
        "ServerCertificateName": one.name,
        "Fingerprint": one.fingerprint,
        "CommonName": one.common_name,
        "SubjectAlternativeNames": {"SubjectAlternativeName": list(one.names)},
        "CreateTime": utc_seconds(one.created_at),
        "CreateTimeStamp": int(one.created_at * 1000),
        "ExpireTime": utc_seconds(one.expires_at),
        "ExpireTimeStamp": int(one.expires_at * 1000),
        "IsAliCloudCertificate": 0,
        "RegionId": world.place.region_id,
        "ResourceGroupId": one.resource_group_id,
    }


class DescribeServerCertificates(Regional):
    """The parameters."""

    server_certificate_id: str = ""
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()


def describe(world: World, request: DescribeServerCertificates) -> Answer:
    """List certificates; their keys are shown to nobody."""
    found = [
        {**_described(world, one), "Tags": tag_set(one.tags)}
        for one in world.state.balancing.certificates.values()
        if request.server_certificate_id in ("", one.id)
        if request.resource_group_id in ("", one.resource_group_id)
        if has_tags(one.tags, request.tag)
    ]
    return {"ServerCertificates": {"ServerCertificate": found}}


class OneCertificate(Regional):
    """The parameters of an action about one certificate."""

    server_certificate_id: str


def delete(world: World, request: OneCertificate) -> Answer:
    """Delete a certificate that no listener uses."""
    held = world.state.balancing
    found = held.certificate(request.server_certificate_id)
    listeners = (one.http for one in held.clb_listeners.values())
    if any(one is not None and one.certificate_id == found.id for one in listeners):
        message = "The specified certificate is bound to listeners. You cannot delete it."
        raise Refusal("CertificateAndPrivateKeyIsRefered", message)
    held.remove(found)
    return {}


ACTIONS: Actions = {
    "UploadServerCertificate": Action(request=UploadServerCertificate, run=upload),
    "DescribeServerCertificates": Action(request=DescribeServerCertificates, run=describe),
    "DeleteServerCertificate": Action(request=OneCertificate, run=delete),
}
