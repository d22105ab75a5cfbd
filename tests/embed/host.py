"""A proxy in Python, by ctypes: an event loop of Python's own waits, and Python decides. `host.py LIBWEIR`; it asks the proxy itself."""

import ctypes as c
import selectors
import socket
import sys

weir = c.CDLL(sys.argv[1])
weir.weir_config_new.restype = c.c_void_p
weir.weir_address.restype = c.c_size_t
weir.weir_address.argtypes = [c.c_void_p, c.c_size_t, c.c_char_p, c.c_size_t]
weir.weir_status_text.restype = c.c_char_p


class Text(c.Structure):
    _fields_ = [("data", c.c_void_p), ("length", c.c_size_t)]

    def __str__(self):
        return c.string_at(self.data, self.length).decode("utf-8", "replace")


OnConnection = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.c_uint16)
OnRequest = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p, c.c_void_p)
OnName = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.c_void_p)
OnLog = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p, c.c_size_t)


class Options(c.Structure):
    _fields_ = [("size", c.c_size_t), ("user_data", c.c_void_p), ("on_connection", OnConnection),
                ("on_request", OnRequest), ("on_name", OnName), ("on_log", OnLog),
                ("listeners", c.c_void_p), ("listeners_count", c.c_size_t)]


weir.weir_request_host.restype = Text
weir.weir_request_host.argtypes = [c.c_void_p]
weir.weir_ruling_answer.argtypes = [c.c_void_p, c.c_uint16, c.c_char_p, c.c_size_t]
for name in ("weir_config_free", "weir_free", "weir_drain", "weir_fd", "weir_next_timeout_ms"):
    getattr(weir, name).argtypes = [c.c_void_p]
weir.weir_config_text.argtypes = [c.c_void_p, c.c_char_p]
weir.weir_new.argtypes = [c.c_void_p, c.POINTER(Options), c.POINTER(c.c_void_p), c.c_char_p, c.c_size_t]
weir.weir_poll.argtypes = [c.c_void_p, c.c_int]

log = []


@OnRequest
def on_request(_user_data, request, ruling):
    body = f"hello {weir.weir_request_host(request)}".encode()
    weir.weir_ruling_answer(ruling, 200, body, len(body))


@OnLog
def on_log(_user_data, lines, length):
    log.append(c.string_at(lines, length).decode())


options = Options(size=c.sizeof(Options), on_request=on_request, on_log=on_log)
config = weir.weir_config_new()
weir.weir_config_text(config, b"host 127.0.0.1\nport 0\n")
proxy, error = c.c_void_p(), c.create_string_buffer(1024)
status = weir.weir_new(config, c.byref(options), c.byref(proxy), error, len(error))
weir.weir_config_free(config)
if status < 0:
    sys.exit(f"{weir.weir_status_text(status).decode()}: {error.value.decode()}")

address = c.create_string_buffer(64)
weir.weir_address(proxy, 0, address, len(address))
host, port = address.value.decode().rsplit(":", 1)
client = socket.create_connection((host, int(port)))
client.sendall(b"GET http://py.example/ HTTP/1.1\r\nHost: py.example\r\nConnection: close\r\n\r\n")
selector = selectors.DefaultSelector()
selector.register(weir.weir_fd(proxy), selectors.EVENT_READ, "proxy")
selector.register(client, selectors.EVENT_READ, "client")
answer, ended = b"", False
while not ended:
    timeout_ms = weir.weir_next_timeout_ms(proxy)
    for key, _ in selector.select(None if timeout_ms < 0 else timeout_ms / 1000):
        if key.data == "client":
            more = client.recv(4096)
            answer, ended = answer + more, not more
    assert weir.weir_poll(proxy, 0) == 0
weir.weir_drain(proxy)
while weir.weir_poll(proxy, -1) == 0:
    pass
weir.weir_free(proxy)
assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"hello py.example"), answer
assert " 200 GET http://py.example/ " in "".join(log), log
print("host.py: all is well")
