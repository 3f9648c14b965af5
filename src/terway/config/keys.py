"""Which keys does `eni_conf` have? Ours, and all of the original's, with or without effect."""

EFFECTIVE = (
    "access_key",
    "access_secret",
    "region_id",
    "vswitches",
    "security_group",
    "security_groups",
    "eni_tags",
    "eni_tag_filter",
    "eni_tag_block_list",
    "min_pool_size",
    "max_pool_size",
    "min_eni",
    "max_eni",
    "eni_cap_ratio",
    "eni_cap_shift",
    "vswitch_selection_policy",
    "eni_selection_policy",
    "ip_stack",
    "ip_pool_sync_period",
    "ip_cooldown_period",  # ours: how long a released address rests
    "idle_ip_reclaim_after",
    "idle_ip_reclaim_interval",
    "idle_ip_reclaim_batch_size",
    "resource_group_id",
    "enable_patch_pod_ips",
)
# Nothing to say about these: a comment, and what the node's own routes do without being told (the
# original leads services past the pod's ENI by it; here all that a pod sends passes the node).
SILENT = ("version", "service_cidr")
FLAGS_WITHOUT_EFFECT = (
    "enable_eni_trunking",
    "enable_erdma",
    "enable_ip_prefix",
    "disable_device_plugin",
    "enable_eip_pool",
    "enable_eip_migrate",
    "allow_eip_rob",
)
OTHERS_WITHOUT_EFFECT = (
    "credential_path",
    "ipam_type",
    "ip_warm_up_size",
    "ipv4_prefix_count",
    "ipv6_prefix_count",
    "custom_stateful_workload_kinds",
    "backoff_override",
    "rate_limit",
    "extra_routes",
    "kube_client_qps",
    "kube_client_burst",
    "idle_ip_reclaim_jitter_factor",
    "prefix",
)
KNOWN_KEYS = (*EFFECTIVE, *SILENT, *FLAGS_WITHOUT_EFFECT, *OTHERS_WITHOUT_EFFECT)
