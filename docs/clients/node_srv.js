// Prints the page of each instance, found by SRV records, every half second: node node_srv.js web.minidisc
const { Resolver } = require('node:dns').promises;

const resolver = new Resolver();
resolver.setServers(['127.0.0.1:53']); // any address and port; the default is the server in /etc/resolv.conf

// fetch resolves addresses by libc (dns.lookup), so resolv.conf must name the same server.
const page = async ({ name, port }) => (await (await fetch(`http://${name}:${port}/`)).text()).trim();

async function pages(service) {
  const found = await resolver.resolveSrv(service).catch((error) => {
    if (error.code === 'ENOTFOUND') return []; // no instances
    throw error;
  });
  const asked = await Promise.allSettled(found.map(page));
  return asked.filter((each) => each.status === 'fulfilled').map((each) => each.value);
}

(async () => {
  for (;;) {
    console.log((await pages(process.argv[2])).join(' '));
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
})();
