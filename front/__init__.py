"""What stands before a TorchServe that others may reach: nginx's configuration, and the checker that nginx asks.

`render` writes the configuration. The checker (`checker`, of the extra `web`) knows the keys, and answers what
TorchServe has no route for on the port of predictions: what a model is, and whether it is ready. docs/front.md explains
both.
"""
