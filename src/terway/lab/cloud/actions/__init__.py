"""The actions of the cloud, one module per kind of resource."""
