"""Redis servers that belong together: a Cluster, and a master with replica and Sentinels."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import redis
from redis.exceptions import RedisError

from support.polling import poll_until
from support.ports import find_free_port
from support.processes import Process, Processes
from worker.connections.clients import operator_client
from worker.connections.embedded.processes import RedisBinary, preferred_binary

SLOTS = 16384
SERVICE = "records"
# Small, so that a fail-over takes a test seconds: 15 s and 5 s would be usual. But not so small
# that a node which a busy machine pauses is taken for dead; where none is to die, that is never.
NODE_TIMEOUT_MS, DOWN_AFTER_MS = 4000, 3000
NEVER_MS = 600_000


@dataclass(slots=True)
class Server:
    """One server of a group."""

    port: int
    process: Process

    @property
    def client(self) -> redis.Redis:
        """A client of this server alone."""
        return redis.Redis(port=self.port, socket_timeout=30)

    def call(self, *words: str | bytes | int) -> Any:
        """The answer to a command."""
        client: Any = self.client
        return client.execute_command(*words)


@dataclass(slots=True)
class Group:
    """Starts servers in folders of their own."""

    processes: Processes
    binary: RedisBinary = field(default_factory=preferred_binary)

    def start(self, *options: str, port: int = 0) -> Server:
        """A server that listens on loopback and answers."""
        port = port or find_free_port()
        folder = self.processes.folder / f"server-{port}"
        folder.mkdir(exist_ok=True)
        fixed = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        fixed += ["--repl-diskless-sync-delay", "0"]  # no other replica is waited for
        command = [str(self.binary.path), *fixed, "--appendonly", "yes", *options]
        server = Server(port, self.processes.run(command, env={}, name=f"redis-{port}"))
        poll_until(lambda: answers(server.client), what=f"Redis answers on {port}")
        return server


def answers(client: redis.Redis) -> bool:
    """Whether the server answers now."""
    try:
        return bool(client.ping())
    except RedisError:
        return False


class RedisCluster:
    """A Cluster: three masters with a third of the slots each, and a replica of each if wanted."""

    def __init__(self, group: Group, *, replicas: bool = False) -> None:
        self.masters = [self._node(group) for _ in range(3)]
        self.replicas = [self._node(group) for _ in range(3)] if replicas else []
        edges = [0, SLOTS // 3, 2 * SLOTS // 3, SLOTS]
        for node, (first, after) in zip(self.masters, pairwise(edges), strict=True):
            node.call("CLUSTER ADDSLOTS", *range(first, after))
        for node in self.all[1:]:
            node.call("CLUSTER MEET", "127.0.0.1", self.masters[0].port)
        poll_until(lambda: all(map(self._knows_all, self.all)), what="the nodes know each other")
        for master, replica in zip(self.masters, self.replicas, strict=False):
            replica.call("CLUSTER REPLICATE", self.id_of(master))
        poll_until(lambda: all(map(self._is_well, self.all)), what="the Cluster is well")
        for replica in self.replicas:
            poll_until(partial(linked, replica), what="a replica has its master's data")
        for node in self.all:
            node.call(
                "CONFIG SET", "cluster-node-timeout", NODE_TIMEOUT_MS if replicas else NEVER_MS
            )

    @staticmethod
    def _node(group: Group) -> Server:
        port = find_free_port(room_for=10_000)  # where the nodes talk to each other
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")  # to begin soon
        return group.start(*options, port=port)

    @property
    def all(self) -> list[Server]:
        """Every node."""
        return [*self.masters, *self.replicas]

    @property
    def url(self) -> str:
        """The address to give as REDIS_URL."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.masters)

    @staticmethod
    def id_of(node: Server) -> str:
        """A node's name in its Cluster."""
        return str(node.call("CLUSTER MYID").decode())

    def owner(self, slot: int) -> Server:
        """The node a slot was given to at the start."""
        return self.masters[min(2, slot * 3 // SLOTS)]

    def client(self) -> redis.Redis:
        """A client of the whole Cluster."""
        return operator_client(self.url)

    def _knows_all(self, node: Server) -> bool:
        info = node.call("CLUSTER INFO")
        return int(info["cluster_known_nodes"]) == len(self.all)

    def _is_well(self, node: Server) -> bool:
        info = node.call("CLUSTER INFO")
        return bool(info["cluster_state"] == "ok" and int(info["cluster_slots_ok"]) == SLOTS)


def linked(replica: Server) -> bool:
    """Whether a replica has what its master had."""
    return replica.client.info("replication").get("master_link_status") == "up"


class Guarded:
    """A master, its replica, and three Sentinels that watch them."""

    def __init__(self, group: Group) -> None:
        self.master = group.start()
        self.replica = group.start("--replicaof", "127.0.0.1", str(self.master.port))
        poll_until(lambda: linked(self.replica), what="the replica has the master's data")
        self.sentinels = [self._sentinel(group) for _ in range(3)]
        poll_until(lambda: all(map(self._sees_others, self.sentinels)), what="Sentinels meet")

    def _sentinel(self, group: Group) -> Server:
        port = find_free_port()
        conf = group.processes.folder / f"sentinel-{port}.conf"
        conf.write_text(
            f"port {port}\nbind 127.0.0.1\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.master.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {SERVICE} 5000\n"
        )
        command = [str(group.binary.path), str(conf), "--sentinel"]
        server = Server(port, group.processes.run(command, env={}, name=f"sentinel-{port}"))
        poll_until(lambda: answers(server.client), what=f"a Sentinel answers on {port}")
        return server

    @staticmethod
    def _sees_others(sentinel: Server) -> bool:
        info: Any = sentinel.client.sentinel_master(SERVICE)
        return bool(info["num-other-sentinels"] == 2 and info["num-slaves"] == 1)

    @property
    def url(self) -> str:
        """The address to give as REDIS_URL."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"


@pytest.fixture
def redis_group(processes: Processes) -> Group:
    """Starts Redis servers, which end with the test."""
    return Group(processes)


@pytest.fixture
def redis_cluster(redis_group: Group) -> RedisCluster:
    """A Cluster of three nodes on loopback."""
    return RedisCluster(redis_group)


@pytest.fixture
def guarded(redis_group: Group) -> Guarded:
    """A master with replica and Sentinels on loopback."""
    return Guarded(redis_group)
