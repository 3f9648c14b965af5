"""Services and EndpointSlices, and what this node's maps must have so that both are true here."""
