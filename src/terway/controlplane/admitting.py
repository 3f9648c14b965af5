"""What does an instance need to answer the webhook's questions, and when can it?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from terway.controlplane.balancers.admission import BalancedAdmission, make_balanced
from terway.controlplane.certkeeper import CertKeeper
from terway.controlplane.config import SERVICE_CONTROLLER, Config, WebhookConf
from terway.controlplane.context import Context
from terway.controlplane.entries import Place
from terway.controlplane.known import KnownNetworkings
from terway.controlplane.metrics import gauge
from terway.controlplane.podenis.build import make_admission, settings_of
from terway.controlplane.webhook import open_webhook, webhook_app
from terway.kube.client import KubeClient
from terway.model.exposition import Metric


def names_of(config: Config, webhook: WebhookConf) -> tuple[str, ...]:
    """Return by which names the API server calls us, for the certificate."""
    service = f"{config.name}.{config.namespace}.svc"
    host = urlsplit(webhook.url).hostname if webhook.url else None
    return (service, f"{service}.{config.cluster_domain}", *filter(None, (host,)))


async def open_admission(
    stack: AsyncExitStack, context: Context, client: KubeClient, webhook: WebhookConf
) -> Admitting:
    """Serve the webhook until `stack` ends. Raises what the API server says to its secret."""
    config = context.config
    place = Place(
        url=webhook.url,
        name=config.name,
        namespace=config.namespace,
        has_balancers=SERVICE_CONTROLLER in config.controllers,
    )
    keeper = CertKeeper(
        client,
        place,
        names=names_of(config, webhook),
        networkings=KnownNetworkings(context.informers, context.announced),
        settings=settings_of(config),
        clock=context.clock,
    )
    await keeper.load()
    admission = make_admission(context.informers, context.eni_config.current, config)
    balanced: BalancedAdmission | None = None
    if place.has_balancers:
        balanced = await make_balanced(context.informers, client, sleep_s=webhook.drain_sleep_s)
    admitting = Admitting(keeper, context)
    app = webhook_app(admission, admitting.is_complete, balanced)
    await stack.enter_async_context(open_webhook(app, keeper.context, webhook.port))
    context.metrics.sources.append(admitting.metrics)
    return admitting


class Admitting:
    """Whether the webhook can answer, and is asked. Made before any controller asks for more."""

    def __init__(self, keeper: CertKeeper, context: Context) -> None:
        self.keeper = keeper
        self._missing = context.informers.pending()

    def is_complete(self) -> bool:
        """Return whether all that is decided by is in memory."""
        return not self._missing()

    def missing(self) -> tuple[str, ...]:
        """Return what stands between us and answering."""
        found = tuple(f"{one} are not listed yet" for one in self._missing())
        return found if self.keeper.is_known else (*found, "the API server does not know us yet")

    def metrics(self) -> Iterator[Metric]:
        """Yield how the webhook does."""
        yield gauge(
            "terway_controlplane_webhook_certificate_expires_at_seconds",
            "end of the certificate that is shown, in seconds since the epoch",
            {(): self.keeper.expires_at},
        )
        yield gauge(
            "terway_controlplane_webhook_fails_closed",
            "1 if pods that ask for a network are not made while no webhook answers",
            {(): float(self.keeper.fails_closed)},
        )
