"""asyncio comes without TLS where nobody has asked for that, and TLS works as soon as somebody does."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = "import sys, mddns\nmddns.start_registry\n"

# Without certificates: both sides agree on a key with nobody's name to it.
TLS = """
import asyncio, ssl

def context(side):
    made = ssl.SSLContext(side)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
    return made

async def echo(reader, writer):
    writer.write(await reader.readline())
    writer.close()

async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context(ssl.PROTOCOL_TLS_SERVER))
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context(ssl.PROTOCOL_TLS_CLIENT))
    writer.write(b"hello\\n")
    said = await reader.readline()
    version = writer.get_extra_info("ssl_object").version()
    writer.close()
    server.close()
    print(said, version, type(writer.transport).__module__)

asyncio.run(main())
"""


def told(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.splitlines()


def test_a_registry_loads_no_tls() -> None:
    names = "[name for name in ('ssl', '_ssl', 'asyncio.sslproto') if name in sys.modules]"
    assert told(LOADED + f"print('asyncio' in sys.modules, {names})") == ["True []"]


@pytest.mark.parametrize("before", [LOADED, "import ssl\n" + LOADED, "import asyncio\n" + LOADED, ""])
def test_tls_with_asyncio_works_as_ever(before: str) -> None:
    assert told(before + TLS) == ["b'hello\\n' TLSv1.2 asyncio.sslproto"]


def test_a_connection_is_made_tls_later() -> None:
    program = LOADED + TLS.replace(
        '"127.0.0.1", port, ssl=context(ssl.PROTOCOL_TLS_CLIENT))',
        '"127.0.0.1", port)\n    await writer.start_tls(context(ssl.PROTOCOL_TLS_CLIENT))',
    )
    assert told(program) == ["b'hello\\n' TLSv1.2 asyncio.sslproto"]


def test_whoever_imports_ssl_has_what_asyncio_has() -> None:
    program = """
import ssl, asyncio, asyncio.sslproto
from asyncio import base_events, selector_events
print(base_events.ssl.SSLContext is ssl.SSLContext, type(ssl).__name__, ssl.__name__)
print(base_events.ssl is selector_events.ssl is ssl, base_events.sslproto.SSLProtocol is asyncio.sslproto.SSLProtocol)
print(sys.modules["ssl"] is ssl, base_events.sslproto is asyncio.sslproto)
"""
    assert told(LOADED + program) == ["True module ssl", "True True", "True True"]


def test_a_socket_is_looked_at_without_loading_tls_and_a_tls_socket_is_refused_as_ever() -> None:
    program = """
import asyncio, socket
one, two = socket.socketpair()
one.setblocking(False)
two.send(b"x")

async def main():
    loop = asyncio.get_running_loop()
    print(await loop.sock_recv(one, 1), "ssl" in sys.modules)
    import ssl
    wrapped = ssl.create_default_context().wrap_socket(
        socket.socket(), server_hostname="localhost", do_handshake_on_connect=False
    )
    try:
        await loop.sock_recv(wrapped, 1)
    except TypeError as error:
        print(error)
    wrapped.close()

asyncio.run(main())
one.close()
two.close()
"""
    assert told(LOADED + program) == ["b'x' False", "Socket cannot be of type SSLSocket"]


def test_threads_that_import_ssl_meanwhile_all_have_one() -> None:
    program = """
import sys, threading
sys.setswitchinterval(1e-6)
found, begin = [], threading.Event()

def wanted():
    begin.wait()
    import ssl
    found.append(ssl.SSLContext)
    found.append(__import__("ssl").SSLContext)

threads = [threading.Thread(target=wanted) for _ in range(8)]
for each in threads:
    each.start()
begin.set()
import mddns.system.asyncio_without_tls
for each in threads:
    each.join()
import ssl, asyncio.base_events
print(len(found), {each is ssl.SSLContext for each in found}, asyncio.base_events.ssl.SSLContext is ssl.SSLContext)
print(type(sys.modules["ssl"]).__name__)
"""
    for _ in range(3):
        assert told(program) == ["16 {True} True", "module"]
