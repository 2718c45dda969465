"""The gateways that are compared: what each is, how it is started, and how it wants to be asked."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from benchmarks.end_to_end.load import Target
from benchmarks.processes import free_port, module
from benchmarks.pure import ENVIRONMENT as PURE_VARIABLE
from benchmarks.words import ALIAS

from . import own
from .environments import DebianEnvironment, Environment, NpmEnvironment, PythonEnvironment

RECIPES = Path(__file__).parent / "recipes"


class Place(NamedTuple):
    """Where a gateway runs: its port, that of the upstream, and a folder for its files."""

    port: int
    upstream: int
    folder: Path

    @property
    def url(self) -> str:
        """The upstream's URL."""
        return f"http://127.0.0.1:{self.upstream}"

    def write(self, name: str, text: str) -> str:
        """Write one of its files."""
        path = self.folder / name
        path.write_text(text, "utf-8")
        return str(path)


class Command(NamedTuple):
    """What starts a gateway, and how it then wants to be asked."""

    arguments: list[str]
    environment: Mapping[str, str] = MappingProxyType({})
    target: Target = Target()
    chooses_port: bool = False
    """Whether it writes its URL into a file named `url`, instead of taking the port."""


@dataclass(frozen=True)
class Peer:
    """A gateway."""

    name: str
    about: str
    """How it is run, and what it does with a stream."""
    start: Callable[[Place], Command]
    environment: Environment | None = None
    """What it is installed in; none: the present one, whose packages are `needs`."""
    needs: tuple[str, ...] = ()
    model: str = ""
    """The model's name that its chunks have to have; none: any."""
    slow: bool = False
    """Whether it takes part in the first passes only, because it takes long."""

    def missing(self) -> str:
        """Say why it cannot be started; nothing where it can."""
        if self.environment is None or self._in_present:
            return ""
        return self.environment.missing()

    def versions(self) -> dict[str, str]:
        """Return the versions of what it consists of, and when that was installed, if known."""
        if self.environment is None:
            return {}
        return self.environment.versions() or {name: version(name) for name in self.needs}

    @property
    def _in_present(self) -> bool:
        """Whether the present environment has all that it needs."""
        return bool(self.needs) and all(importlib.util.find_spec(name) for name in self.needs)


# --- this library's own ---


def _fastchunk(name: str, environment: Mapping[str, str], place: Place) -> Command:
    return Command(module("gateways.own", name, str(place.port), place.url), environment)


def _own(name: str, about: str, environment: Mapping[str, str] = MappingProxyType({})) -> Peer:
    model = ALIAS if name in own.CHANGING else ""
    return Peer(name, about, partial(_fastchunk, name, environment), model=model)


# --- recipes ---

_FASTAPI = PythonEnvironment(
    "fastapi",
    ("fastapi==0.165.0", "uvicorn[standard]==0.54.0", "httpx==0.28.1", "openai==3.51.0"),
)


def _recipe(name: str, place: Place) -> Command:
    python = sys.executable if _FASTAPI.missing() else str(_FASTAPI.bin / "python")
    arguments = f"-m uvicorn {name}:app --host 127.0.0.1 --port {place.port} --no-access-log"
    return Command(
        [python, *arguments.split(), "--log-level", "warning", "--app-dir", str(RECIPES)],
        {"UPSTREAM": place.url},
    )


# --- general proxies ---

_NGINX = DebianEnvironment("nginx", ("nginx",))
_NGINX_SETTINGS = """\
daemon off;
worker_processes 1;
error_log stderr warn;
pid nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_body_buffer_size 1m;
  upstream models {{ server 127.0.0.1:{place.upstream}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{place.port} backlog=2048;
    location / {{
      proxy_pass http://models;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def _nginx(place: Place) -> Command:
    settings = place.write("nginx.conf", _NGINX_SETTINGS.format(place=place))
    arguments = ["-e", "stderr", "-p", str(place.folder), "-c", settings]
    return Command([_NGINX.executable, *arguments], _NGINX.libraries)


_HAPROXY = DebianEnvironment(
    "haproxy",
    ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"),
)
_HAPROXY_SETTINGS = """\
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 10s
    timeout client 600s
    timeout server 600s
frontend gateway
    bind 127.0.0.1:{place.port} backlog 2048
    default_backend models
backend models
    server upstream 127.0.0.1:{place.upstream}
"""


def _haproxy(place: Place) -> Command:
    settings = place.write("haproxy.cfg", _HAPROXY_SETTINGS.format(place=place))
    return Command([_HAPROXY.executable, "-db", "-f", settings], _HAPROXY.libraries)


_CADDY = DebianEnvironment("caddy", ("caddy",))
_CADDY_SETTINGS = """\
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{place.port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{place.upstream}
}}
"""


def _caddy(place: Place) -> Command:
    settings = place.write("Caddyfile", _CADDY_SETTINGS.format(place=place))
    homes = dict.fromkeys(("XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(place.folder))
    arguments = ["run", "--adapter", "caddyfile", "--config", settings]
    return Command([_CADDY.executable, *arguments], homes)


# --- gateways and routers for models ---

_SGLANG = PythonEnvironment("sglang-router", ("sglang-router==0.3.2",))
_VLLM = PythonEnvironment("vllm-router", ("vllm-router==0.1.17",))


def _router(place: Place, level: str) -> list[str]:
    metrics = free_port()
    return (
        f"--host 127.0.0.1 --port {place.port} --worker-urls {place.url} --policy round_robin "
        f"--prometheus-host 127.0.0.1 --prometheus-port {metrics} --log-level {level}"
    ).split()


def _sglang(place: Place) -> Command:
    python = str(_SGLANG.bin / "python")
    return Command([python, "-m", "sglang_router.launch_router", *_router(place, "warn")])


def _vllm(place: Place) -> Command:
    return Command([str(_VLLM.bin / "vllm-router"), *_router(place, "warning")])


_TENSORZERO = PythonEnvironment("tensorzero", ("tensorzero==2026.6.0",))
_TENSORZERO_SETTINGS = f"""\
[gateway]
observability.enabled = false
disable_pseudonymous_usage_analytics = true
[models.{ALIAS}]
routing = ["upstream"]
[models.{ALIAS}.providers.upstream]
type = "openai"
api_base = "{{place.url}}/v1/"
model_name = "{ALIAS}"
api_key_location = "none"
"""


def _tensorzero(place: Place) -> Command:
    settings = place.write("tensorzero.toml", _TENSORZERO_SETTINGS.format(place=place))
    script = str(RECIPES / "tensorzero_gateway.py")
    return Command(
        [str(_TENSORZERO.bin / "python"), script, settings, str(place.folder / "url")],
        target=Target(f"tensorzero::model_name::{ALIAS}", "/openai/v1/chat/completions"),
        chooses_port=True,
    )


_PORTKEY = NpmEnvironment("portkey", ("@portkey-ai/gateway@1.15.2", "@hono/node-server@1.12.2"))


def _portkey(place: Place) -> Command:
    script = _PORTKEY.path / "node_modules" / "@portkey-ai" / "gateway/build/start-server.js"
    options = ["--require", str(RECIPES / "loopback.cjs")]
    arguments = [str(script), f"--port={place.port}", "--headless"]
    headers = {
        "authorization": "Bearer none",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"{place.url}/v1",
    }
    production = {"NODE_ENV": "production"}
    return Command(["node", *options, *arguments], production, Target(headers=headers))


_LITELLM = PythonEnvironment("litellm", ("litellm[proxy]==1.106.12",))


def _litellm(place: Place) -> Command:
    model = {"model": "openai/model", "api_base": f"{place.url}/v1", "api_key": "none"}
    settings = {"model_list": [{"model_name": ALIAS, "litellm_params": model}]}
    file = place.write("litellm.yaml", json.dumps(settings))  # which is YAML, too
    arguments = f"--config {file} --host 127.0.0.1 --port {place.port} --telemetry False"
    offline = {
        "HF_HUB_OFFLINE": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    return Command([str(_LITELLM.bin / "litellm"), *arguments.split()], offline)


# In the order in which they take turns, the control not beside the reference.
PEERS = (
    _own(own.REFERENCE, "`fastchunk.gateway`, with a task that waits for each read and each write"),
    _own(own.DIRECT, "`fastchunk.gateway` as it comes, the bytes handed on"),
    _own(own.RELAY, "`fastchunk.gateway` with an alias for the model, as it comes"),
    _own(own.RELAY_PURE, "the same, without the compiled part", {PURE_VARIABLE: "1"}),
    Peer("nginx", "one worker, no buffering of answers, connections kept", _nginx, _NGINX),
    Peer("HAProxy", "one thread", _haproxy, _HAPROXY),
    Peer("Caddy", "`reverse_proxy`, as it comes", _caddy, _CADDY),
    Peer("sglang-router", "one worker's URL, policy `round_robin`", _sglang, _SGLANG),
    Peer("vllm-router", "one worker's URL, policy `round_robin`", _vllm, _VLLM),
    _own(own.CONTROL, "the reference once more"),
    Peer(
        "TensorZero",
        "the HTTP gateway in its Python package, nothing observed",
        _tensorzero,
        _TENSORZERO,
    ),
    Peer(
        "FastAPI + httpx, bytes",
        "`aiter_bytes` in a `StreamingResponse`; uvicorn, one worker",
        partial(_recipe, "fastapi_bytes"),
        _FASTAPI,
        ("fastapi", "uvicorn", "httpx"),
    ),
    Peer(
        "FastAPI + httpx, JSON",
        "`aiter_lines`, `json.loads`, the model, `json.dumps`; uvicorn, one worker",
        partial(_recipe, "fastapi_json"),
        _FASTAPI,
        ("fastapi", "uvicorn", "httpx"),
        model=ALIAS,
    ),
    Peer(
        "FastAPI + openai",
        "the openai client's chunks, the model, `model_dump_json`; uvicorn, one worker",
        partial(_recipe, "openai_client"),
        _FASTAPI,
        ("fastapi", "uvicorn", "openai"),
        model=ALIAS,
    ),
    Peer(
        "Portkey",
        "its Node.js server, the provider `openai`",
        _portkey,
        _PORTKEY,
    ),
    Peer(
        "LiteLLM",
        "its proxy, one worker, no database, no key",
        _litellm,
        _LITELLM,
        slow=True,
    ),
)
UNAVAILABLE = {"Bifrost": "its package downloads the gateway when it is started"}
"""Others that users compare, and why they are not in the table."""


def environments() -> list[Environment]:
    """Return all that can be installed, each once."""
    return [*dict.fromkeys(peer.environment for peer in PEERS if peer.environment)]
