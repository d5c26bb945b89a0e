"""Prints the page of each instance of a service every half second: ``python aiodns_client.py web.minidisc``."""

import asyncio
import sys
import urllib.request

import aiodns


async def answers(resolver: aiodns.DNSResolver, name: str, rtype: str) -> list[aiodns.pycares.DNSRecord]:
    """The records of a type; empty if the name does not exist."""
    try:
        return (await resolver.query_dns(name, rtype)).answer
    except aiodns.error.DNSError as error:
        if error.args[0] in (aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA):
            return []
        raise


async def instances(resolver: aiodns.DNSResolver, service: str) -> list[tuple[str, int]]:
    """Address and port of each instance."""
    found = [each.data for each in await answers(resolver, service, "SRV")]
    addresses = await asyncio.gather(*(answers(resolver, srv.target, "A") for srv in found))
    return [(a.data.addr, srv.port) for srv, records in zip(found, addresses, strict=True) for a in records]


def page(address: str, port: int) -> str:
    """Fetches the page of one instance."""
    with urllib.request.urlopen(f"http://{address}:{port}/", timeout=3) as answer:
        return answer.read().decode().strip()


async def main(service: str) -> None:
    """Runs until it is interrupted."""
    # Any address and port; the default is the server in /etc/resolv.conf.
    async with aiodns.DNSResolver(nameservers=["127.0.0.1:53"]) as resolver:
        while True:
            found = await instances(resolver, service)
            pages = await asyncio.gather(*(asyncio.to_thread(page, *each) for each in found), return_exceptions=True)
            print(*(each for each in pages if isinstance(each, str)), flush=True)
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
