"""nginx with the nchan module; a channel id for each channel, several of them joined by a comma."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.bench.peers.peer import NotInstalled, Peer, Place

__all__ = ["NCHAN"]

_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_CONFIGURATION = """\
load_module {module};
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    nchan_shared_memory_size 1024M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /pub {{
            nchan_publisher;
            nchan_channel_id $arg_id;
            nchan_message_timeout 10s;
        }}
        location = /sub {{
            nchan_subscriber websocket;
            nchan_channel_id $arg_id;
            nchan_channel_id_split_delimiter ",";
            nchan_subscriber_first_message newest;
        }}
    }}
}}
"""


def _version() -> str:
    nginx = shutil.which("nginx")
    if nginx is None or not _MODULE.exists():
        raise NotInstalled("no nginx with nchan (Debian packages nginx and libnginx-mod-nchan)")
    shown = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True, timeout=10)
    return f"{shown.stderr.strip().rpartition('/')[2]} with nchan {_package_version()}"


def _package_version() -> str:
    query = ["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return "of unknown version"


def _command(place: Place) -> list[str]:
    file = place.folder / "nginx.conf"
    # As root, nginx would otherwise run its worker as somebody who may not enter the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    file.write_text(_CONFIGURATION.format(module=_MODULE, user=user, folder=place.folder, port=place.port))
    return ["nginx", "-p", str(place.folder), "-c", str(file)]


def _path(channels: Sequence[str]) -> str:
    return f"/sub?id={','.join(channels)}"


NCHAN = Peer(
    name="nginx + nchan",
    conditions="one worker, access log off, memory store with its default buffer of 10 messages; no "
    "authentication (only the commercial nginx verifies JWT); publishing by HTTP is part of its CPU",
    sink="nchan",
    dialect="plain",
    version=_version,
    command=_command,
    subscribe=lambda _: None,
    path=_path,
    uses_redis=False,
)
