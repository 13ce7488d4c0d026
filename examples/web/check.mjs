// Opens the page of this folder in a headless Chromium, and compares what the page tells with what it must.
//
//   node check.mjs GOLDBOOK CHROMIUM PROGRAM
//
// The page is served from two ports, thus from two origins, of which the service lets one call. Whatever this program
// starts it stops, by its process id.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const [goldbook, chromium, program] = process.argv.slice(2);
const page = join(dirname(fileURLToPath(import.meta.url)), "page");
const seconds = 60;

const refused = { code: "Unknown", reason: null };
const notFound = { code: "NotFound", reason: "CUSTOMER_NOT_FOUND" };
/** What a page that may not call must tell: nothing of the service. */
const mustNot = {
  create: refused,
  grant: refused,
  balance: refused,
  tier: refused,
  refusal: refused,
  other: refused,
  stream: refused,
};
/** What a page that may call must tell. Eve is the customer that the other page tried to create. */
const must = {
  create: { customerId: "anna", hasTrace: true },
  grant: { replayed: false },
  balance: { available: "250" },
  tier: { tierId: "member" },
  refusal: notFound,
  other: notFound,
  stream: { isWhole: true, isEmpty: false },
};

/** Fails if something takes too long. */
function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${seconds} seconds`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Serves the page; `told` is what it posts. */
async function serve() {
  let tell;
  const told = new Promise((resolve) => (tell = resolve));
  const files = { "/": ["index.html", "text/html"], "/calls.js": ["calls.js", "text/javascript"] };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    if (request.method === "POST") {
      const parts = [];
      for await (const part of request) parts.push(part);
      response.writeHead(204).end();
      tell(JSON.parse(Buffer.concat(parts).toString()));
    } else if (files[pathname]) {
      const [name, type] = files[pathname];
      response.writeHead(200, { "content-type": type }).end(await readFile(join(page, name)));
    } else {
      response.writeHead(404).end();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, told, origin: `http://127.0.0.1:${server.address().port}` };
}

const children = [];

/** Starts a program. */
function start(command, args, stdio) {
  const child = spawn(command, args, { stdio });
  child.ended = new Promise((resolve) => {
    child.on("error", resolve);
    child.on("exit", resolve);
  });
  children.push(child);
  return child;
}

/** Starts the service, and returns its address. */
async function startService(directory, origin) {
  const args = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir", join(directory, "data"), "--throwaway-database"];
  const service = start(goldbook, [...args, "--cors-origin", origin], ["ignore", "ignore", "pipe"]);
  const lines = createInterface({ input: service.stderr });
  const listening = new Promise((resolve, reject) => {
    lines.on("line", (line) => {
      const event = line.startsWith("{") ? JSON.parse(line) : { level: "ERROR" };
      if (["WARN", "ERROR"].includes(event.level)) console.log(`service: ${line}`);
      if (event.fields?.message === "listening") resolve(`http://${event.fields.address}`);
    });
    service.ended.then((status) => reject(new Error(`the service ended with ${status}`)));
  });
  const address = await within("the start of the service", listening);
  for (const args of [["wait"], ["program", "apply", program]]) {
    const client = start(goldbook, [...args, "--address", address], ["ignore", "ignore", "inherit"]);
    assert.equal(await within(args[0], client.ended), 0, `goldbook ${args[0]}`);
  }
  return address;
}

/** Opens a page, and returns what it tells. */
async function open(directory, site, service, customer) {
  const url = `${site.origin}/?service=${encodeURIComponent(service)}&customer=${customer}`;
  const profile = join(directory, `profile-${customer}`);
  const browser = start(
    chromium,
    [
      "--headless",
      "--no-sandbox", // it refuses to run as root with one
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--disable-background-networking",
      "--no-first-run",
      "--remote-debugging-port=0", // without it, it does not stay
      `--user-data-dir=${profile}`,
      url,
    ],
    "ignore",
  );
  const ended = browser.ended.then((status) => Promise.reject(new Error(`the browser ended with ${status}`)));
  ended.catch(() => {});
  const told = await within(`the page of ${customer}`, Promise.race([site.told, ended]));
  browser.kill("SIGTERM");
  await within("the end of the browser", browser.ended);
  console.log(`${customer}, from ${site.origin}: ${JSON.stringify(told, null, 2)}`);
  return told;
}

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    for (const child of children) child.kill("SIGTERM");
    process.exit(1);
  });
}

const directory = await mkdtemp(join(tmpdir(), "goldbook-web-"));
// Where root may not run Postgres, another user does.
await chmod(directory, 0o711);
const [allowed, other] = [await serve(), await serve()];
try {
  const service = await startService(directory, allowed.origin);
  assert.deepEqual(await open(directory, other, service, "eve"), mustNot);
  assert.deepEqual(await open(directory, allowed, service, "anna"), must);
  console.log("a page of the allowed origin can call, and one of another origin cannot");
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  for (const child of children.reverse()) {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
    await within("the end of what was started", child.ended);
  }
  for (const { server } of [allowed, other]) {
    server.closeAllConnections();
    server.close();
  }
  await rm(directory, { recursive: true, force: true });
}
