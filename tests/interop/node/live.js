// Looks at the live view as a person would, with keys alone, while tunnels move. Arguments: the page's URL, how many
// tunnels are open, where to put pictures, the port of the client whose tunnel is to be closed, and the token.
//
// Prints JSON lines: {"watching":true} once all tunnels are shown, {"shown":{...}} what the page says while they move,
// {"closed":true} when the tunnel was closed from the table, {"tasks":[...],"cpu":MS,"stretch":N} how long tasks of the
// page took that were long, the most processor time that one took (ms), and how much longer than their processor time all
// of them took: on a machine that others keep busy a short task takes long.
'use strict';
const path = require('path');
const { chromium } = require(path.join(process.env.NODE_ROOM, 'node_modules', 'playwright-core'));

const say = what => console.log(JSON.stringify(what));
const [url, open, pictures, port, token] = process.argv.slice(2);
const SECONDS = 12;   // that the page is watched for while everything moves

(async () => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    await look(browser);
  } finally {
    await browser.close();
  }
})().catch(error => {
  say({ error: String(error) });
  process.exitCode = 1;
});

async function opened(browser, options, traced) {
  const page = await browser.newPage(options);
  if (traced) await browser.startTracing(page, { categories: ['toplevel', '__metadata'] });
  page.on('pageerror', error => say({ error: String(error) }));
  page.on('console', message => { if (message.type() === 'error' && !/401/.test(message.text())) say({ console: message.text() }); });
  page.on('request', request => { if (!request.url().startsWith(url) && !request.url().startsWith('data:')) say({ elsewhere: request.url() }); });
  await page.addInitScript(() => {
    window.tasks = [];
    new PerformanceObserver(list => window.tasks.push(...list.getEntries().map(task => task.duration)))
      .observe({ type: 'longtask', buffered: true });
    window.frames_seen = 0;
    window.WebSocket = class extends WebSocket {
      constructor(...args) {
        super(...args);
        this.addEventListener('message', () => { window.frames_seen += 1; });
      }
    };
  });
  await page.goto(url);
  await page.waitForFunction(() => document.body.dataset.link === 'live', null, { timeout: 20000 });
  return page;
}

/** What the tasks of the page's thread took, which is the one with the most work among those that draw pages. */
function spent(events) {
  const threads = events.filter(event => event.name === 'thread_name' && event.args.name === 'CrRendererMain').map(({ pid, tid }) => {
    const tasks = events.filter(event => event.pid === pid && event.tid === tid && event.dur && /RunTask/.test(event.name));
    const sum = key => tasks.reduce((sum, task) => sum + (task[key] ?? 0), 0);
    return { cpu: Math.max(0, ...tasks.map(task => task.tdur ?? 0)) / 1000, all: sum('tdur'), stretch: sum('dur') / sum('tdur') };
  });
  const { cpu, stretch } = threads.reduce((most, thread) => thread.all > most.all ? thread : most);
  return { cpu, stretch };
}

const number = text => Number(text.replace(/[^\d.]/g, ''));

/** What stands under a name in the figures on top. */
const figure = (page, name) => page.evaluate(name => [...document.querySelectorAll('#figures div')]
  .find(entry => entry.firstChild.textContent === name)?.lastChild.textContent ?? '', name);

async function look(browser) {
  const page = await opened(browser, { viewport: { width: 1280, height: 900 }, colorScheme: 'light' }, true);
  const all = Number(open).toLocaleString('en');
  await page.waitForFunction(all => document.querySelector('#figures dd')?.textContent === all
    && document.querySelector('#total').textContent.startsWith(`${all} open`), all, { timeout: 30000 });
  say({ watching: true });
  // The curve of messages rises when the load begins.
  await page.waitForFunction(() => Number(document.querySelector('#chart-messages b').textContent.replace(',', '')) > 1000, null, { timeout: 30000 });
  const from = await page.evaluate(() => window.frames_seen);
  await sortAndSearch(page, all);
  await page.waitForFunction(to => window.frames_seen >= to, from + SECONDS, { timeout: 60000 });
  say({ shown: {
    open: number(await figure(page, 'Open tunnels')),
    total: number(await page.locator('#total').textContent()),
    messages: number(await figure(page, 'Messages a second')),
    backends: (await page.locator('#backends tbody tr td:nth-child(5) b').allTextContents()).map(number),
    curve: await page.locator('#chart-open path.curve').getAttribute('d').then(d => d.length),
    opened: number(await page.locator('#handshakes-said b').first().textContent()),
    ping: await figure(page, 'Ping, clients'),
  } });
  await page.screenshot({ path: `${pictures}/live-light.png` });
  await close(page);
  say({ tasks: await page.evaluate(() => window.tasks), ...spent(JSON.parse(await browser.stopTracing()).traceEvents) });
  await page.close();
  await picture(browser, 'dark', { viewport: { width: 1280, height: 900 }, colorScheme: 'dark' });
  await picture(browser, 'narrow', { viewport: { width: 390, height: 844 }, colorScheme: 'light' });
}

/** Each column sorts both ways, the next page comes, and a search finds; all by keys. */
async function sortAndSearch(page, all) {
  for (const key of ['client', 'backend', 'age', 'idle', 'rtt', 'messages', 'bytes', 'id']) {
    for (let turn = 0; turn < 2; turn++) {
      const heading = page.locator(`#table th[data-key=${key}]`);
      const before = await heading.getAttribute('aria-sort');
      await heading.locator('button').focus();
      await page.keyboard.press('Enter');
      await page.waitForFunction(([key, before]) => {
        const sort = document.querySelector(`#table th[data-key=${key}]`).ariaSort;
        return sort && sort !== before;
      }, [key, before], { timeout: 10000 });
    }
  }
  await page.locator('#next').focus();
  await page.keyboard.press('Enter');
  await page.waitForFunction(all => document.querySelector('#place').textContent === `51 to 100 of ${all}`, all, { timeout: 10000 });
  await page.locator('#filters [name=q]').focus();
  await page.keyboard.type('nobody-has-this');
  await page.waitForFunction(() => document.querySelector('#table .empty'), null, { timeout: 10000 });
  await page.locator('#filters [name=q]').fill('');
  await page.waitForFunction(() => document.querySelectorAll('#table tbody tr').length === 50, null, { timeout: 10000 });
}

/** Finds one tunnel by its client's port, and closes it with a code and a reason. */
async function close(page) {
  await page.locator('#filters [name=q]').focus();
  await page.keyboard.type(`127.0.0.1:${port}`);
  await page.waitForFunction(port => document.querySelectorAll('#table tbody tr').length === 1
    && document.querySelector('#table tbody').textContent.includes(`:${port}`), port, { timeout: 10000 });
  await page.locator('#table button.end').focus();
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('#dialog').open && document.activeElement.name === 'code', null, { timeout: 5000 });
  await page.keyboard.press('End');
  await page.keyboard.press('Tab');
  await page.keyboard.type('4321');
  await page.keyboard.press('Tab');
  await page.keyboard.type('told from the table');
  await page.screenshot({ path: `${pictures}/live-dialog.png` });
  await page.keyboard.press('Enter');
  // Without the token nothing is closed: the dialog says so, or has asked for it already.
  await page.waitForFunction(() => document.activeElement.name === 'token', null, { timeout: 5000 });
  await page.keyboard.type(token);
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => !document.querySelector('#dialog').open, null, { timeout: 5000 });
  await page.waitForFunction(() => document.querySelector('#table .empty'), null, { timeout: 10000 });
  await page.waitForFunction(() => document.querySelector('#ended').textContent.includes('4321'), null, { timeout: 10000 });
  say({ closed: true });
}

async function picture(browser, name, options) {
  const page = await opened(browser, options);
  await page.waitForFunction(() => document.querySelectorAll('#table tbody tr').length > 1 && window.frames_seen > 2, null, { timeout: 20000 });
  await page.screenshot({ path: `${pictures}/live-${name}.png` });
  await page.evaluate(() => document.querySelector('#tunnels').scrollIntoView());
  await page.waitForFunction(() => document.querySelector('#table tbody tr').checkVisibility({ contentVisibilityAuto: true }), null, { timeout: 5000 });
  await page.screenshot({ path: `${pictures}/live-${name}-table.png` });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) say({ error: `the page is ${wide} px wider than the window (${name})` });
  await page.close();
}
