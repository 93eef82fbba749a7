HPUGraph = wrap_in_hpu_graph = wrap_in_hpu_graph_func = None
