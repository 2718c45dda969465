"""Ray's LLM code on a local Serve, as a process: `python -m tests.integrations.llm_serving FOLDER`.

It serves Ray's own application at /ray, and the same one with the mirror at /fastchunk. As soon as
both answer it writes a line of JSON: where each is, and of which module the chunks are that its
server sends. It ends with its input.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import ray
from ray import serve
from ray.serve import llm
from ray.serve.llm.openai_api_models import ChatCompletionRequest

from fastchunk.integrations import ray_serve_llm
from tests.gateway.serving import free_port

from .engine import Engine

CONFIG = llm.LLMConfig(model_loading_config={"model_id": "m"})
SMALL = {"num_replicas": 1, "autoscaling_config": None, "ray_actor_options": {"num_cpus": 0.2}}


class LLMServer(llm.LLMServer):  # type: ignore[misc]
    async def __init__(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[misc]
        ray_serve_llm.install()
        await super().__init__(*args, **kwargs)


# Ray finds the router's routes by this name.
class LLMRouter(llm.LLMRouter):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        ray_serve_llm.install()
        super().__init__(*args, **kwargs)


def build(server: Any, router: Any) -> serve.Application:
    deployment = llm.LLMServer.as_deployment().options(func_or_class=server, name="server", **SMALL)
    ingress = router.as_deployment([CONFIG]).options(**SMALL)
    return ingress.bind([deployment.bind(CONFIG, engine_cls=Engine)])


def module_of_chunks(name: str) -> str:
    """Tell of which module the chunks are that reach this process from an application's server."""
    server = serve.get_deployment_handle("server", name).options(stream=True)
    messages = [{"role": "user", "content": "text"}]
    request = ChatCompletionRequest(model="m", messages=messages, stream=True)
    [module] = {type(chunk).__module__ for chunk in server.chat.remote(request)}
    return module


def main(folder: str) -> None:
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
    own, mirrored = build(llm.LLMServer, llm.LLMRouter), build(LLMServer, LLMRouter)
    serve.run(own, name="ray", route_prefix="/ray")
    serve.run(mirrored, name="fastchunk", route_prefix="/fastchunk")
    applications = {
        name: {"url": f"http://127.0.0.1:{port}/{name}/v1", "chunks": module_of_chunks(name)}
        for name in ("ray", "fastchunk")
    }
    print(json.dumps(applications), file=answers, flush=True)
    sys.stdin.read()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
