"""Serve LSeg with TorchServe: the one name under which the folders of the project are installed.

The entries beside this file are links to the folders at the top of the repository.
"""
