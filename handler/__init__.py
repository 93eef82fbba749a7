"""The TorchServe handler: requests in, responses out. The only room that imports `ts`."""
