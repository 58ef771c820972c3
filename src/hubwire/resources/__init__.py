"""The desired state: the resource tree and the settings of hubs."""
