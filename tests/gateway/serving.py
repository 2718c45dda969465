"""Ray Serve in a process of its own, with everything that it starts: on loopback, in a new session.

Arguments: a folder for Ray's files, and the options of the application as JSON. It prints the URL
when replicas are running, then, for each line of its input, the replicas; it ends with its input.
"""

from __future__ import annotations

import json
import random
import socket
import sys
from typing import Any

import ray
from ray import serve
from ray.serve.context import _get_global_client

from fastchunk.gateway.ray_serve import build


def free_port() -> int:
    """Find a port that neither Ray's workers nor the system's outgoing connections will take."""
    for port in random.sample(range(20_000, 32_768), 100):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise OSError("no port is free")


def replicas() -> list[dict[str, Any]]:
    """List the replicas that run, each with its process and how many requests it is answering."""
    details = _get_global_client().get_serve_details()
    deployment = details["applications"]["default"]["deployments"]["Gateway"]
    found = []
    for one in deployment["replicas"]:
        if one["state"] == "RUNNING":
            actor = ray.get_actor(one["actor_name"], namespace="serve")
            ongoing = ray.get(actor.get_num_ongoing_requests.remote())
            found.append({"id": one["replica_id"], "pid": one["pid"], "ongoing": ongoing})
    return found


def main(folder: str, options: str) -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # Ray prints what its processes log
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80 * 1024 * 1024,
        _node_ip_address="127.0.0.1",
        _temp_dir=folder,
    )
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(build(json.loads(options)))
    print(f"http://127.0.0.1:{port}", file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(replicas()), file=answers, flush=True)
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
