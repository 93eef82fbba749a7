"""The TorchServe handler: requests in, answers out. The only room that imports `ts`."""
