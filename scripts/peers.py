"""The other proxies, each as a competent operator would set it up for this work: one thread or process that serves, no
logs, connections kept on both sides, no look-ups of names, and large buffers where they help with bodies.

All listen on 127.0.0.1 on a port of their own, keep their files in a folder of their own, and stay in the foreground.
With `caching` they answer from memory what may be cached; without, they cache nothing.
"""
import socket
import time
from dataclasses import dataclass
from typing import Callable

# For proxies with a setting for it: two descriptors each must fit into 20000, beside a few for pipes.
CLIENTS_MAX = 9000


@dataclass
class Peer:
    """How a proxy is started, and its abilities."""

    program: str
    package: str
    # (folder, port, origin, caching) -> command; writes its configuration into the folder.
    command: Callable
    connect: bool = True
    forward: bool = True
    caches: bool = False
    # Most idle connections: each takes a thread.
    tunnels_max: int = CLIENTS_MAX
    clients_max: int = CLIENTS_MAX


def start(bench, name, caching=False):
    """Starts the proxy: (process, address)."""
    folder = bench.folder / f"{name}-{len(bench.processes)}"
    folder.mkdir()
    folder.chmod(0o777)
    port = free_port()
    process = bench.start(PEERS[name].command(folder, port, bench.origin, caching))
    # With the serving children.
    answers(process, port)
    return process, f"127.0.0.1:{port}"


def free_port():
    """An unused port."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def answers(process, port, seconds=30):
    """Waits until it accepts connections."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"does not listen: {process.log.read_text(errors='replace')[-1000:]}")


def write(folder, name, text):
    """A configuration file."""
    (folder / name).write_text(text)
    return folder / name


def squid(folder, port, origin, caching):
    """No disk cache; hosts entries in place of a name server; one process."""
    write(folder, "hosts", "127.0.0.1 localhost\n")
    cache = "cache_mem 256 MB\nmaximum_object_size_in_memory 1 MB\n" if caching else "cache deny all\ncache_mem 0\n"
    config = write(folder, "squid.conf", f"""{cache}
http_port 127.0.0.1:{port}
http_access allow all
hosts_file {folder}/hosts
dns_nameservers 127.0.0.1
workers 1
max_filedescriptors 20000
access_log none
cache_store_log none
cache_log /dev/null
pid_filename none
pinger_enable off
coredump_dir {folder}
client_persistent_connections on
server_persistent_connections on
read_ahead_gap 256 KB
via on
forwarded_for delete
half_closed_clients off
buffered_logs on
memory_pools on
shutdown_lifetime 0 seconds
""")
    return ["squid", "-N", "-f", config]


def tinyproxy(folder, port, origin, caching):
    """A thread for each connection."""
    config = write(folder, "tinyproxy.conf", f"""
Port {port}
Listen 127.0.0.1
MaxClients {CLIENTS_MAX}
Timeout 600
LogLevel Critical
DisableViaHeader Yes
""")
    return ["tinyproxy", "-d", "-c", config]


def haproxy(folder, port, origin, caching):
    """A forward proxy for literal addresses, which splices whatever it can."""
    cache = "cache memory\n total-max-size 256\n max-object-size 1000000\n max-age 3600\n" if caching else ""
    use = " http-request cache-use memory\n http-response cache-store memory\n" if caching else ""
    config = write(folder, "haproxy.cfg", f"""
global
 nbthread 1
 maxconn {CLIENTS_MAX}
 maxpipes 256
 tune.pipesize 1048576
 tune.maxpollevents 200
{cache}
defaults
 mode http
 maxconn {CLIENTS_MAX}
 timeout connect 5s
 timeout client 600s
 timeout server 600s
 timeout http-keep-alive 600s
 option splice-request
 option splice-response
 http-reuse always
frontend proxy
 bind 127.0.0.1:{port} backlog 4096
 http-request set-dst url_ip
 http-request set-dst-port url_port
 default_backend anywhere
backend anywhere
{use} server clear 0.0.0.0:0 pool-max-conn -1
""")
    return ["haproxy", "-db", "-f", config]


def nginx(folder, port, origin, caching):
    """Proxies to a declared upstream, so that it may keep connections; it does not look at the target."""
    paths = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
    cache = f"proxy_cache_path {folder}/cache keys_zone=memory:16m max_size=256m;" if caching else ""
    config = write(folder, "nginx.conf", f"""
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 19900; multi_accept on; }}
http {{
 access_log off;
 {paths}
 {cache}
 sendfile on;
 tcp_nodelay on;
 keepalive_timeout 600s;
 keepalive_requests 1000000000;
 client_max_body_size 0;
 open_file_cache max=1000;
 upstream origin {{ server {origin}; keepalive 1000; keepalive_requests 1000000000; keepalive_timeout 600s; }}
 server {{
  listen 127.0.0.1:{port} backlog=4096;
  location / {{
   proxy_pass http://origin;
   proxy_http_version 1.1;
   proxy_set_header Connection "";
   proxy_set_header Host $http_host;
   proxy_request_buffering off;
   proxy_max_temp_file_size 0;
   proxy_buffer_size 16k;
   proxy_buffers 8 64k;
   proxy_busy_buffers_size 128k;
   {"proxy_cache memory;" if caching else ""}
  }}
 }}
}}
""")
    return ["nginx", "-e", "stderr", "-c", config]


def trafficserver(folder, port, origin, caching):
    """A forward proxy with one thread for events."""
    for part in ["etc", "run", "log", "cache"]:
        (folder / part).mkdir()
    root = write(folder, "runroot.yaml", f"""
prefix: /usr
exec_prefix: /usr
bindir: /usr/bin
sbindir: /usr/sbin
sysconfdir: {folder}/etc
datadir: /usr/share/trafficserver
includedir: /usr/include
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
localstatedir: {folder}/run
runtimedir: {folder}/run
logdir: {folder}/log
cachedir: {folder}/cache
""")
    settings = {
        "exec_thread.autoconfig": 0, "exec_thread.limit": 1, "exec_thread.affinity": 0, "accept_threads": 0, "task_threads": 1,
        "http.server_ports": f"{port}:ip-in=127.0.0.1", "http.connect_ports": "*", "url_remap.remap_required": 0,
        "reverse_proxy.enabled": 0, "http.cache.http": int(caching), "http.cache.required_headers": 0,
        "log.logging_enabled": 0, "diags.debug.enabled": 0, "http.insert_request_via_str": 1, "http.insert_client_ip": 0,
        "http.insert_squid_x_forwarded_for": 0, "net.connections_throttle": 20000, "net.max_connections_in": CLIENTS_MAX,
        "http.keep_alive_no_activity_timeout_in": 600, "http.keep_alive_no_activity_timeout_out": 600,
        "http.transaction_no_activity_timeout_in": 600, "http.transaction_no_activity_timeout_out": 600,
        "admin.user_id": "#-1", "http.server_session_sharing.match": "ip", "http.server_session_sharing.pool": "thread",
        "hostdb.host_file.path": "/etc/hosts", "cache.ram_cache.size": 256_000_000, "http.keep_alive_enabled_out": 1,
        "net.listen_backlog": 4096,
    }
    lines = (f"CONFIG proxy.config.{name} {'INT' if isinstance(value, int) else 'STRING'} {value}\n" for name, value in settings.items())
    write(folder / "etc", "records.config", "".join(lines))
    write(folder / "etc", "ip_allow.yaml", "ip_allow:\n  - {apply: in, ip_addrs: 0/0, action: allow, methods: ALL}\n")
    write(folder / "etc", "storage.config", f"{folder}/cache 256M\n")
    for empty in ["remap.config", "plugin.config", "ssl_multicert.config", "cache.config", "parent.config"]:
        write(folder / "etc", empty, "")
    return ["traffic_server", f"--run-root={root}"]


def apache(folder, port, origin, caching):
    """The event MPM in one child; a thread for each tunnel. The origin is declared, so that connections to it are kept."""
    modules = ["mpm_event", "authz_core", "proxy", "proxy_http", "proxy_connect"]
    loaded = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules)
    config = write(folder, "apache.conf", f"""
{loaded}
ServerName localhost
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/pid
ErrorLog /dev/null
LogLevel crit
User nobody
Group nogroup
Listen 127.0.0.1:{port}
ListenBacklog 4096
ServerLimit 1
StartServers 1
ThreadLimit 400
ThreadsPerChild 400
MaxRequestWorkers 400
MinSpareThreads 1
MaxSpareThreads 400
AsyncRequestWorkerFactor 24
MaxConnectionsPerChild 0
KeepAlive On
KeepAliveTimeout 600
MaxKeepAliveRequests 0
Timeout 600
ProxyRequests On
ProxyVia On
AllowCONNECT 1-65535
ProxyIOBufferSize 65536
<Proxy "*">
 Require all granted
</Proxy>
<Proxy "http://{origin}">
 ProxySet keepalive=On disablereuse=Off max=400
 Require all granted
</Proxy>
""")
    return ["apache2", "-f", config, "-DFOREGROUND"]


def varnish(folder, port, origin, caching):
    """A cache in front of one origin, compared for hits only."""
    address, _, number = origin.rpartition(":")
    rules = write(folder, "varnish.vcl", f"""vcl 4.1;
backend origin {{ .host = "{address}"; .port = "{number}"; }}
sub vcl_backend_response {{ set beresp.do_gzip = false; }}
""")
    return ["varnishd", "-F", "-n", folder / "state", "-a", f"127.0.0.1:{port}", "-f", rules, "-s", "malloc,256m",
            "-p", "thread_pools=1", "-p", "thread_pool_min=100", "-p", "thread_pool_max=1000"]


PEERS = {
    "nginx": Peer("nginx", "nginx-light", nginx, connect=False, caches=True),
    "haproxy": Peer("haproxy", "haproxy", haproxy, connect=False, caches=True),
    "squid": Peer("squid", "squid", squid, caches=True),
    "trafficserver": Peer("traffic_server", "trafficserver", trafficserver, caches=True),
    "apache": Peer("apache2", "apache2", apache, tunnels_max=350),
    "tinyproxy": Peer("tinyproxy", "tinyproxy", tinyproxy, tunnels_max=2000, clients_max=2000),
    "varnish": Peer("varnishd", "varnish", varnish, connect=False, forward=False, caches=True),
}


def reverse(bench, name):
    """Starts HAProxy or nginx as a reverse proxy before the origin: (process, address)."""
    folder = bench.folder / f"{name}-{len(bench.processes)}"
    folder.mkdir()
    folder.chmod(0o777)
    port = free_port()
    process = bench.start(REVERSE[name](folder, port, bench.origin))
    answers(process, port)
    return process, f"127.0.0.1:{port}"


def haproxy_reverse(folder, port, origin):
    """One thread; connections to the server are shared and kept."""
    config = write(folder, "haproxy.cfg", f"""
global
 nbthread 1
 maxconn {CLIENTS_MAX}
defaults
 mode http
 timeout connect 5s
 timeout client 60s
 timeout server 60s
 option forwardfor
 http-reuse always
frontend all
 bind 127.0.0.1:{port}
 default_backend origin
backend origin
 server one {origin} pool-max-conn -1
""")
    return ["haproxy", "-db", "-f", config]


def nginx_reverse(folder, port, origin):
    """One process; connections to the server are kept."""
    config = write(folder, "nginx.conf", f"""
worker_processes 1;
daemon off;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 20000; }}
http {{
 access_log off;
 client_body_temp_path {folder}/body;
 proxy_temp_path {folder}/proxy;
 fastcgi_temp_path {folder}/fastcgi;
 uwsgi_temp_path {folder}/uwsgi;
 scgi_temp_path {folder}/scgi;
 keepalive_requests 1000000000;
 upstream origin {{ server {origin}; keepalive 256; keepalive_requests 1000000000; }}
 server {{
  listen 127.0.0.1:{port};
  location / {{
   proxy_pass http://origin;
   proxy_http_version 1.1;
   proxy_set_header Connection "";
   proxy_set_header Host $http_host;
   proxy_set_header X-Forwarded-For $remote_addr;
  }}
 }}
}}
""")
    return ["nginx", "-p", folder, "-c", config]


REVERSE = {"HAProxy": haproxy_reverse, "nginx": nginx_reverse}
