"""Which calls keep CLB's listeners, and say who is healthy behind them?

A listener has no id: its instance, protocol and port name it. Source: OpenAPI SLB 2014-05-15.
"""

from __future__ import annotations

from terway.cloud import clb_wire as answers
from terway.cloud.balancer_calls import BalancerCalls
from terway.cloud.clb_listener_wire import ClbListeners, parse_clb_listener
from terway.cloud.query import Value
from terway.cloud.slb_http import http_parameters, redirect_parameters
from terway.cloud.wire import Done
from terway.model.balancer import (
    AccessRule,
    BackendHealth,
    CheckKind,
    Forwarding,
    HealthCheck,
    Listener,
    ListenerProtocol,
    ListenerWish,
    LoadBalancerId,
)

LISTENERS_PER_PAGE = 100


class SlbListenerCalls(BalancerCalls):
    """Listeners of instances."""

    async def list_listeners(self, balancer_id: LoadBalancerId) -> tuple[Listener, ...]:
        """Return an instance's listeners, from all pages."""
        parameters: dict[str, Value] = {
            "LoadBalancerId": (balancer_id,),
            "MaxResults": LISTENERS_PER_PAGE,
        }
        action = "DescribeLoadBalancerListeners"
        pages = await self.list_pages(action, parameters, ClbListeners)
        return tuple(parse_clb_listener(one) for page in pages for one in page.listeners)

    async def create_listener(self, balancer_id: LoadBalancerId, wish: ListenerWish) -> None:
        """Make a listener, stopped. Raises ConflictError when there is one at the port."""
        parameters = _parameters(balancer_id, wish)
        if wish.http is None:  # the interval is spelt so there, and only when a listener is made
            parameters["healthCheckInterval"] = parameters.pop("HealthCheckInterval")
        else:
            parameters |= redirect_parameters(wish.http)
        parameters.pop("VServerGroup")
        await self.call(f"CreateLoadBalancer{wish.protocol.value}Listener", parameters, Done)

    async def update_listener(self, balancer_id: LoadBalancerId, wish: ListenerWish) -> None:
        """Make a listener as wished. Raises ConflictError when there is none. Safe to repeat.

        Its protocol, and where HTTP leads on to, stay.
        """
        action = f"SetLoadBalancer{wish.protocol.value}ListenerAttribute"
        await self.call(action, _parameters(balancer_id, wish), Done)

    async def start_listener(
        self, balancer_id: LoadBalancerId, protocol: ListenerProtocol, port: int
    ) -> None:
        """Have a listener forward. Safe to repeat."""
        await self.call("StartLoadBalancerListener", _named(balancer_id, protocol, port), Done)

    async def stop_listener(
        self, balancer_id: LoadBalancerId, protocol: ListenerProtocol, port: int
    ) -> None:
        """Have a listener forward nothing. Safe to repeat."""
        await self.call("StopLoadBalancerListener", _named(balancer_id, protocol, port), Done)

    async def delete_listener(
        self, balancer_id: LoadBalancerId, protocol: ListenerProtocol, port: int
    ) -> None:
        """Delete a listener; success when it is gone."""
        named = _named(balancer_id, protocol, port)
        await self.call_until_gone("DeleteLoadBalancerListener", named)

    async def health(
        self, balancer_id: LoadBalancerId, protocol: ListenerProtocol, port: int
    ) -> tuple[BackendHealth, ...]:
        """Return what an instance says of the backends of a listener."""
        named = _named(balancer_id, protocol, port)
        said = await self.call("DescribeHealthStatus", named, answers.ClbHealths)
        return tuple(map(answers.parse_clb_health, said.backend_servers.backend_server))


def _named(balancer_id: LoadBalancerId, protocol: ListenerProtocol, port: int) -> dict[str, Value]:
    return {
        "LoadBalancerId": balancer_id,
        "ListenerProtocol": protocol.value.lower(),
        "ListenerPort": port,
    }


def _parameters(balancer_id: LoadBalancerId, wish: ListenerWish) -> dict[str, Value]:
    forwarding = wish.forwarding or Forwarding()
    is_tcp = wish.protocol is ListenerProtocol.TCP
    return {
        "LoadBalancerId": balancer_id,
        "ListenerPort": wish.port,
        "Bandwidth": -1,
        "VServerGroupId": wish.group_id,
        "VServerGroup": "on",
        "Scheduler": forwarding.scheduler,
        "Description": wish.description,
        **_access(wish.access),
        **(
            {**_check(forwarding.check), **(_tcp(forwarding) if is_tcp else {})}
            if wish.http is None
            else http_parameters(forwarding.check, wish.http)
        ),
    }


def _access(access: AccessRule | None) -> dict[str, Value]:
    if access is None:
        return {"AclStatus": "off"}
    kind = "white" if access.is_allowed else "black"
    return {"AclStatus": "on", "AclId": access.acl_id, "AclType": kind}


def _check(check: HealthCheck) -> dict[str, Value]:
    return {
        "HealthCheckSwitch": "on" if check.is_on else "off",
        "HealthCheckConnectPort": check.port or None,
        "HealthCheckConnectTimeout": check.timeout_s,
        "HealthCheckInterval": check.interval_s,
        "HealthyThreshold": check.healthy_after,
        "UnhealthyThreshold": check.unhealthy_after,
    }


def _tcp(forwarding: Forwarding) -> dict[str, Value]:
    check = forwarding.check
    http: dict[str, Value] = {}
    if check.kind is CheckKind.HTTP:
        http = {
            "HealthCheckDomain": check.domain or None,
            "HealthCheckURI": check.uri,
            "HealthCheckHttpCode": ",".join(check.http_codes),
        }
    return {
        **http,
        "HealthCheckType": check.kind.value,
        "PersistenceTimeout": forwarding.persistence_s,
        "ConnectionDrain": "off" if forwarding.drain_s is None else "on",
        "ConnectionDrainTimeout": forwarding.drain_s,
    }
