"""Ray's LLM code on a local Serve, as a process: `python -m tests.integrations.llm_serving FOLDER`.

It serves Ray's own application at /ray, and that of the page on where fastchunk fits, `llm_app`, at
/fastchunk. As soon as both answer it writes a line of JSON: where each is, and of which module the
chunks are that its server sends. It ends with its input.
"""

from __future__ import annotations

import json
import sys
from copy import deepcopy
from importlib import import_module
from typing import Any

import ray
from ray import serve
from ray.serve import llm
from ray.serve.llm.openai_api_models import ChatCompletionRequest

from tests.gateway.serving import free_port

CONFIG: dict[str, Any] = {
    "model_loading_config": {"model_id": "m"},
    "deployment_config": {
        "autoscaling_config": {"min_replicas": 1, "max_replicas": 1},
        # Ray asks for no GPU where there is such a resource.
        "ray_actor_options": {"num_cpus": 0.2, "resources": {"mock_resource": 1}},
    },
    "experimental_configs": {"num_router_replicas": 1},
}


def module_of_chunks(name: str) -> str:
    """Tell of which module the chunks are that reach this process from an application's server."""
    server = serve.get_deployment_handle("LLMDeployment:m", name).options(stream=True)
    messages = [{"role": "user", "content": "text"}]
    request = ChatCompletionRequest(model="m", messages=messages, stream=True)
    [module] = {type(chunk).__module__ for chunk in server.chat.remote(request)}
    return module


def main(folder: str) -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # Ray prints what its processes log
    ray.init(
        address="local",
        num_cpus=2,
        resources={"mock_resource": 2},
        include_dashboard=False,
        object_store_memory=80 * 1024 * 1024,
        _node_ip_address="127.0.0.1",
        _temp_dir=folder,
    )
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    builders = {"ray": llm.build_openai_app, "fastchunk": import_module("llm_app").build}
    told = {}
    for name, build in builders.items():
        args = {"llm_configs": [deepcopy(CONFIG)]}  # Ray changes what it is given
        serve.run(build(args), name=name, route_prefix=f"/{name}")
        url = f"http://127.0.0.1:{port}/{name}/v1"
        told[name] = {"url": url, "chunks": module_of_chunks(name)}
    print(json.dumps(told), file=answers, flush=True)
    sys.stdin.read()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
