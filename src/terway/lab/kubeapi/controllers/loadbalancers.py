"""Which addresses do Services of type LoadBalancer have? The lab's cloud controller manager.

    typed LoadBalancer ─► finalizer, addresses chosen ─► [the VPC forwards] ─► addresses in status
    deleted, or retyped ─► [the VPC forgets] ─► status emptied ─► finalizer gone

What is chosen is an annotation. Status and finalizer follow when the VPC does what they say, which
is for `lab/balancer` to know. A Service with a loadBalancerClass is somebody else's.
Source: k8s.io/cloud-provider controllers/service/controller.go, v1.34.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from terway.lab.kubeapi.controllers.actions import Action, Patch, Tell, status_patch
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.objects import (
    Object,
    annotations_of,
    is_terminating,
    metadata,
    read_path,
)
from terway.lab.kubeapi.resources import SERVICE
from terway.lab.kubeapi.store import Change
from terway.model.address import IPAddress, IPNetwork

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
CHOSEN = "terway-lab/load-balancer-addresses"
_COMPONENT = "service-controller"


def is_balanced(service: Object) -> bool:
    """Return whether the lab gives this Service addresses."""
    is_typed = read_path(service, "spec.type") == "LoadBalancer"
    is_ours = not read_path(service, "spec.loadBalancerClass")
    return is_typed and is_ours and not is_terminating(service)


def addresses_of(service: Object) -> tuple[IPAddress, ...]:
    """Return the addresses that were chosen for a Service, in the order of its families."""
    text = annotations_of(service).get(CHOSEN, "")
    return tuple(ip_address(one) for one in text.split(",") if one)


def announce(service: Object) -> tuple[Action, ...]:
    """Return what tells of the chosen addresses, which work by now; nothing if it was told."""
    if not is_balanced(service):
        return ()
    ingress = [{"ip": str(one), "ipMode": "VIP"} for one in addresses_of(service)]
    if not ingress or read_path(service, "status.loadBalancer.ingress") == ingress:
        return ()
    return (
        status_patch(SERVICE, service, {"loadBalancer": {"ingress": ingress}}),
        _tell(service, "EnsuredLoadBalancer", "Ensured load balancer"),
    )


def withdraw(service: Object) -> tuple[Action, ...]:
    """Return what a Service gives back step by step, whose addresses the VPC has forgotten."""
    if is_balanced(service) or not _is_held(service):
        return ()
    if read_path(service, "status.loadBalancer.ingress"):
        patch: Object = {"status": {"loadBalancer": {"ingress": None}}}
        return (Patch(resource=SERVICE, object=service, patch=patch, subresource="status"),)
    kept = [one for one in metadata(service)["finalizers"] if one != FINALIZER]
    patch = {"metadata": {"finalizers": kept, "annotations": {CHOSEN: None}}}
    return (
        _tell(service, "DeletedLoadBalancer", "Deleted load balancer"),
        Patch(resource=SERVICE, object=service, patch=patch),
    )


def concerns_balancers(change: Change) -> bool:
    """Return whether somebody may want an address, or has one to give back."""
    held = (change.new, change.old)
    objects = [one.object for one in held if one is not None]
    return change.resource is SERVICE and any(map(is_concerned, objects))


def is_concerned(service: Object) -> bool:
    """Return whether a Service has an address of a load balancer, or wants one."""
    return is_balanced(service) or _is_held(service)


def plan_load_balancers(view: View, *, ranges: Sequence[IPNetwork]) -> Iterator[Action]:
    """Yield finalizers and addresses of `ranges` for Services that have none."""
    services = view.all(SERVICE)
    taken = {address for one in services for address in addresses_of(one)}
    for service in services:
        if is_balanced(service):
            yield from _give(service, ranges, taken)


def _is_held(service: Object) -> bool:
    return FINALIZER in (metadata(service).get("finalizers") or ())


def _give(service: Object, ranges: Sequence[IPNetwork], taken: set[IPAddress]) -> Iterator[Action]:
    has, wanted = addresses_of(service), []
    for family in read_path(service, "spec.ipFamilies", ("IPv4",)):
        kept = next((one for one in has if f"IPv{one.version}" == family), None)
        address = kept or _free(family, ranges, taken)
        if address is None:
            text = f"no {family} address is free"
            yield _tell(service, "SyncLoadBalancerFailed", text, "Warning")
            return
        taken.add(address)
        wanted.append(address)
    if tuple(wanted) != has or not _is_held(service):
        held = [one for one in metadata(service).get("finalizers") or () if one != FINALIZER]
        chosen = {CHOSEN: ",".join(map(str, wanted))}
        patch = {"metadata": {"finalizers": [*held, FINALIZER], "annotations": chosen}}
        yield Patch(resource=SERVICE, object=service, patch=patch)


def _free(family: str, ranges: Sequence[IPNetwork], taken: set[IPAddress]) -> IPAddress | None:
    fitting = [one for one in ranges if f"IPv{one.version}" == family]
    return next((host for one in fitting for host in one.hosts() if host not in taken), None)


def _tell(service: Object, reason: str, message: str, kind: str = "Normal") -> Tell:
    return Tell(
        resource=SERVICE,
        object=service,
        reason=reason,
        message=message,
        component=_COMPONENT,
        type=kind,
    )
