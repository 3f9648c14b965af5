"""ECS: the one region and its zones.

Source: OpenAPI ECS 2014-05-26, DescribeRegions and DescribeZones.
"""

from __future__ import annotations

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.requests import Regional, Request
from terway.lab.cloud.world import World


class DescribeRegions(Request):
    """The parameters. Names are English."""

    accept_language: str = ""


def describe_regions(world: World, request: DescribeRegions) -> Answer:
    """List the region."""
    region_id = world.place.region_id
    shown = {
        "RegionId": region_id,
        "LocalName": region_id,
        "RegionEndpoint": f"ecs.{region_id}.aliyuncs.com",
        "Status": "available",
    }
    return {"Regions": {"Region": [shown]}}


class DescribeZones(Regional):
    """The parameters. Names are English."""

    accept_language: str = ""
    verbose: bool = True


def describe_zones(world: World, request: DescribeZones) -> Answer:
    """List the zones; every instance type is in every zone."""
    creation = {"ResourceTypes": ["VSwitch", "Instance"]}
    types = {"InstanceTypes": list(world.types) if request.verbose else []}
    shown = [
        {
            "ZoneId": zone_id,
            "LocalName": zone_id,
            "ZoneType": "AvailabilityZone",
            "AvailableResourceCreation": creation,
            "AvailableInstanceTypes": types,
        }
        for zone_id in world.place.zone_ids
    ]
    return {"Zones": {"Zone": shown}}


ACTIONS: Actions = {
    "DescribeRegions": Action(request=DescribeRegions, run=describe_regions),
    "DescribeZones": Action(request=DescribeZones, run=describe_zones),
}
