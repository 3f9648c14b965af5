"""The lab's Kubernetes API: server, scheduler and the workload controllers.

`state.ClusterState` is the cluster in memory, `server.create_kube_app` serves it over HTTP,
`controllers.runner.run_controllers` makes it move. docs/design/lab-kubeapi.md has the drawing.
"""
