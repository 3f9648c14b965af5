"""Is what policies say in force on this node, and does anybody work against it?"""

from __future__ import annotations

from collections.abc import Iterator

from terway.cli.finding import Finding, error, note, warning
from terway.cli.hops import RESTART_AGENT
from terway.cli.snapshot import Snapshot
from terway.cli.snapshot_policy import PolicyAgent, PolicyApi, PolicyView
from terway.cli.table import counted
from terway.policy.nft.names import TABLE

_VERIFY = "terway-cli policy verify"
_STATUS = "terway-cli policy status"
_MANY_ADOPTIONS = 5  # one is the start; each other was a difference, or an error of the kernel
_SHOWN = 3
_REMOVED = {
    "Calico": "kubectl -n kube-system delete daemonset calico-node; then reboot the node",
    "Cilium": "kubectl -n kube-system delete daemonset cilium; then reboot the node",
    "kube-router": "kubectl -n kube-system delete daemonset kube-router; then reboot the node",
    "Antrea": "kubectl -n kube-system delete daemonset antrea-agent; then reboot the node",
    "Weave": "kubectl -n kube-system delete daemonset weave-net; weave reset",
}
_OFF = 'or "disable_network_policy": "true" in eni-config'


def check_policy(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield what is wrong with policies here."""
    view = snapshot.policy
    if view is None:
        return
    if not view.is_wanted:
        yield from _switched_off(view)
        return
    yield from _kernel(view)
    if view.agent is not None:
        yield from _agent(view.agent)
    if view.api is not None:
        yield from _faults(view, view.api)
        yield from _told(view, view.api)
    yield from _others(view)


def _switched_off(view: PolicyView) -> Iterator[Finding]:
    count = len(view.api.generations) if view.api is not None else 0
    if count:
        policies = counted(count, "policy", "policies")
        why = f"the cluster has {policies}, and pods of this node are open to everybody"
        command = "kubectl -n kube-system edit configmap eni-config (disable_network_policy)"
        yield warning("NetworkPolicy is off on this node", why, command)
    if view.has_table:
        why = "NetworkPolicy is off, and these rules go on to drop packets"
        yield error(f"table inet {TABLE} is left over", why, f"nft delete table inet {TABLE}")


def _kernel(view: PolicyView) -> Iterator[Finding]:
    """Yield what is missing in the kernel, or is otherwise than policies say."""
    restricted = view.agent.restricted_pods if view.agent is not None else _told_pods(view)
    has_rules = view.has_table or view.in_maps
    if not has_rules and restricted:
        pods = "1 pod here is" if restricted == 1 else f"{restricted} pods here are"
        why = f"{pods} restricted by policies, and now open to everybody"
        yield error(f"table inet {TABLE} of nftables is missing", why, RESTART_AGENT)
    places = dict.fromkeys(one.where for one in view.differences)
    for where in places if has_rules else [one for one in places if one != "the node"]:
        texts = [one.text for one in view.differences if one.where == where]
        what = f"{where}: rules in the kernel are not as policies say"
        yield error(what, _some(texts), RESTART_AGENT)
    if view.failure:
        yield warning("nobody compares the kernel with the policies", view.failure, _VERIFY)


def _told_pods(view: PolicyView) -> int:
    """Return of how many pods terwayd last said that a policy selects them; at least one each."""
    told = view.api.told if view.api is not None and view.api.told is not None else ()
    return max((one.pods for one in told), default=0)


def _agent(agent: PolicyAgent) -> Iterator[Finding]:
    """Yield what terwayd says itself."""
    if agent.silent or not agent.is_synced:
        why = "; ".join(agent.silent) or "the API server has not told of all policies and pods yet"
        what = "terwayd does not hear of policies"
        yield error(
            what, f"{why}; what is in force stays, new pods wait", "kubectl get --raw /readyz"
        )
    elif agent.trouble:
        why = f"{agent.trouble}; pods whose policies are not in force wait in ADD"
        yield error("not all policies are in force on this node", why, _VERIFY)
    if agent.differences:
        why = f"terwayd found it and makes it anew: {_some(agent.differences)}"
        yield error("the kernel was not as policies say", why, f"{_VERIFY}; terway-cli events")
    if agent.failure:
        yield warning("terwayd cannot read its rules back", agent.failure, _VERIFY)
    if agent.adoptions >= _MANY_ADOPTIONS:
        why = f"terwayd has made them anew {agent.adoptions - 1} times since it started"
        yield warning(f"somebody changes table inet {TABLE}", why, "terway-cli events")


def _faults(view: PolicyView, api: PolicyApi) -> Iterator[Finding]:
    """Yield policies that cannot be enforced as they are written."""
    told = {one.policy: one.message for one in api.told or () if one.message}
    faults = dict(view.agent.faults) if view.agent is not None else {}
    for policy, fault in faults.items():
        why = f"{fault}; it denies what it selects, and allows nothing"
        yield warning(f"{policy} cannot be read", why, _edit(policy))
    for policy, message in told.items():
        if policy not in faults:
            yield note(f"{policy} is not enforced to the letter", message, _edit(policy))


def _edit(policy: str) -> str:
    kind, _, name = policy.partition(" ")
    namespace, slash, rest = name.partition("/")
    where = f"-n {namespace} edit {kind.lower()} {rest}" if slash else f"edit {kind.lower()} {name}"
    return f"kubectl {where}"


def _told(view: PolicyView, api: PolicyApi) -> Iterator[Finding]:
    """Yield where what nodes say of policies is not what the API has."""
    stale = [
        one.policy
        for one in api.told or ()
        if one.generation != api.generations.get(one.policy, one.generation) or not one.in_force
    ]
    faults = view.agent.faults if view.agent is not None else {}
    late = [one for one in stale if one not in faults]
    if late:
        why = f"the filter has another generation of them, or not at all: {_some(late)}"
        yield warning("policies have changed and are not in force yet", why, _STATUS)
    if api.quiet_nodes and api.generations:
        why = f"policies may be off there, or terwayd down: {_some(api.quiet_nodes)}"
        yield note("nodes that say nothing of policies", why, _STATUS)


def _others(view: PolicyView) -> Iterator[Finding]:
    for engine in view.others:
        why = "what one of the two drops, no policy that the other enforces can allow"
        command = f"{_REMOVED[engine]}, {_OFF}"
        yield warning(f"{engine} has rules of its own on this node", why, command)


def _some(texts: list[str] | tuple[str, ...]) -> str:
    more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more
