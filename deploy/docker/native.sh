#!/bin/sh
# Takes the libraries of netty, by which TorchServe speaks to its workers over Unix sockets, out of TorchServe's jar.
#
# By itself netty writes them into /tmp and loads them there. Where /tmp is mounted noexec, as it should be, that fails,
# and TorchServe and its workers meet on TCP ports instead, which every program on the same network can reach.
set -eu
jar=$(echo /opt/lseg/lib/python3*/site-packages/ts/frontend/model-server.jar)
unzip -q -j -d /opt/lseg/native "$jar" 'META-INF/native/*transport_native_epoll_*.so'
