// Chromium without a window. "silent WS_URL SECONDS" keeps a socket silent in a page, "demo URL PICTURE" looks at the
// demonstration as a person would.
//
// Prints JSON lines as client.js does; for the demonstration what the page shows.
'use strict';
const http = require('http');
const path = require('path');
const { chromium } = require(path.join(process.env.NODE_ROOM, 'node_modules', 'playwright-core'));

const say = what => console.log(JSON.stringify(what));
const [mode, url, argument] = process.argv.slice(2);

(async () => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
  try {
    const page = await browser.newPage({ viewport: { width: 900, height: 860 } });
    page.on('pageerror', error => say({ error: String(error) }));
    page.on('console', message => { if (message.type() === 'error') say({ console: message.text() }); });
    await (mode === 'demo' ? demo(page) : silent(page));
  } finally {
    await browser.close();
  }
})().catch(error => {
  say({ error: String(error) });
  process.exitCode = 1;
});

async function silent(page) {
  // A page of its own on loopback, so that the socket is opened as any page opens one.
  const host = http.createServer((_, response) => response.end('<!doctype html><title>silent</title>'));
  await new Promise(done => host.listen(0, '127.0.0.1', done));
  await page.goto(`http://127.0.0.1:${host.address().port}/`);
  const told = await page.evaluate(([url, seconds]) => new Promise(done => {
    const socket = new WebSocket(url);
    // sleep is the promise: the silence is what is tested.
    socket.onopen = () => setTimeout(() => socket.readyState === 1 && socket.send('after the silence'), seconds * 1000);
    socket.onmessage = event => { done({ echo: event.data }); socket.close(1000); };
    socket.onclose = event => done({ closed: event.code, reason: event.reason });
  }), [url, Number(argument)]);
  say(told);
  host.close();
}

async function demo(page) {
  const text = id => page.locator(`#${id}`).textContent();
  await page.goto(`${url}?every=1&silence=4`);
  await page.waitForFunction(() => document.querySelector('main').dataset.state === 'open', null, { timeout: 20000 });
  await page.waitForFunction(() => Number(document.querySelector('#received').textContent) >= 2, null, { timeout: 20000 });
  await page.click('#send');
  // Silent now: the proxy's pings are what moves, and the page shows their round trip.
  await page.click('#silence');
  await page.waitForFunction(() => document.querySelector('#log').textContent.includes('it survived'), null, { timeout: 30000 });
  await page.waitForFunction(() => document.querySelector('#client-rtt').textContent !== '–', null, { timeout: 60000 });
  await page.waitForFunction(() => document.querySelector('#backend-rtt').textContent !== '–', null, { timeout: 60000 });
  if (argument) await page.screenshot({ path: argument });
  say({
    state: await text('state'), sent: Number(await text('sent')), received: Number(await text('received')),
    client_rtt: await text('client-rtt'), backend_rtt: await text('backend-rtt'), echo: await text('echo'),
    pings: await text('pings'), number: await text('number'),
  });
}
