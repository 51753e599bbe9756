// The live view: what comes over the WebSocket, drawn when the browser draws.

import { Curves, Distribution, quantile } from './charts.js';
import * as dialog from './dialog.js';
import * as table from './table.js';
import { $, brief, bytes, clock, count, long, make, meaning, rate, say } from './words.js';

const SECONDS = 600;         // of history that is kept
const SILENCE = 5000;        // milliseconds without a word after which the link counts as lost
const FEW = 12;              // causes that are listed; the rest is one line

let hello = null, counters = null, first = null, upstreams = [], points = [], heard = 0, lost = 0, tries = 0, socket, waiting;
let drawing = false, again = false;

const charts = {
  open: new Curves($('chart-open'), 190, 'Open tunnels', [{ name: 'open', kind: 'first', filled: true, value: p => p.open }]),
  moves: new Curves($('chart-moves'), 130, 'Opened, ended and failed a second', [
    { name: 'opened', kind: 'first', value: p => p.opened },
    { name: 'ended', kind: 'second', value: p => p.ended },
    { name: 'handshakes failed', kind: 'third', value: p => p.failed },
  ]),
  messages: new Curves($('chart-messages'), 130, 'Messages a second', [
    { name: 'from clients', kind: 'first', value: p => p.messages[0] },
    { name: 'from backends', kind: 'second', value: p => p.messages[1] },
  ]),
};
const spreads = {
  client: new Distribution($('round-client'), 'Clients', 'first'),
  backend: new Distribution($('round-backend'), 'Backends', 'second'),
  lifetime: new Distribution($('lifetime'), 'Open for', 'first'),
};

// --- the link ------------------------------------------------------------------------------------------------------

function connect() {
  socket = new WebSocket(new URL('api/live', location.href.replace(/^http/, 'ws')));
  socket.onmessage = event => { take(JSON.parse(event.data)); };
  socket.onclose = () => {
    if (!lost) lost = Date.now();
    setTimeout(connect, Math.min(8000, 500 * 2 ** tries++));
    link();
  };
}

function take(told) {
  [heard, lost, tries] = [Date.now(), 0, 0];
  if (told.kind === 'hello') {
    // Another process counts from nothing again.
    if (!hello || hello.pid !== told.pid || first.started !== told.counters.started) first = told.counters;
    hello = told;
    points = told.history;
    dialog.rights(told.writing);
    table.rights(told.writing);
  } else {
    points.push(...told.history.filter(point => point.at > (points.at(-1)?.at ?? 0)));
    if (points.length > SECONDS) points.splice(0, points.length - SECONDS);
  }
  counters = told.counters;
  upstreams = told.upstreams ?? upstreams;
  hello.now = told.now;
  // A page that nobody sees draws nothing.
  waiting ??= requestAnimationFrame(() => { waiting = null; draw(); });
}

function link() {
  const live = heard && !lost && Date.now() - heard < SILENCE;
  const state = live ? 'live' : heard ? 'lost' : 'connecting';
  document.body.dataset.link = state;
  // The same text while it lasts: what reads the page aloud says it once.
  const away = `no word since ${clock(heard / 1000)}, trying again`;
  say($('link-state'), live ? 'live' : heard ? away : tries > 1 ? 'no answer, trying again' : 'connecting');
}

// --- drawing -------------------------------------------------------------------------------------------------------

/** What is drawn, in parts: between two of them the browser may answer a key or a pointer. */
const PARTS = [
  link, heading, figures,
  ...Object.values(charts).map(chart => () => chart.show(points)),
  () => handshakes(since()),
  () => endings(since().ended),
  ...['client', 'backend'].map(side => () => spreads[side].show(since().round_trip[side])),
  () => spreads.lifetime.show(since().lifetime),
  machine, backends, () => table.groups(upstreams.map(group => group.group)),
];

const breath = () => new Promise(done => setTimeout(done));

async function draw() {
  again = true;
  if (drawing) return;
  drawing = true;
  try {
    while (again) {
      again = false;
      for (const part of PARTS) {
        part();
        await breath();
      }
    }
  } finally {
    drawing = false;
  }
}

function heading() {
  say($('host'), hello.host ? `on ${hello.host}` : '');
  document.title = `${count(counters.open)} open · Longwire ${hello.host ?? ''}`;
  say($('about'), `version ${hello.version} · process ${hello.pid} · up for ${long(hello.now - counters.started)}`);
}

/** The mean of the last ten seconds. */
const recent = value => {
  const last = points.slice(-10);
  return last.length ? last.reduce((sum, p) => sum + (value(p) || 0), 0) / last.length : null;
};

/** The sum of the last minute. */
const minute = value => points.slice(-60).reduce((sum, p) => sum + (value(p) || 0), 0);

/** What half of a histogram does not exceed. */
function half(histogram) {
  const bound = quantile(histogram, .5);
  return bound === Infinity ? `> ${brief(histogram.bounds.at(-1))}` : bound === null ? '–' : `≤ ${brief(bound)}`;
}

function figures() {
  const failed = minute(p => p.failed);
  const { client, backend } = counters.round_trip;
  list($('figures'), [
    ['Open tunnels', count(counters.open)],
    ['Opened a minute', count(minute(p => p.opened))],
    ['Ended a minute', count(minute(p => p.ended))],
    ['Failed a minute', count(failed), failed ? 'bad' : ''],
    ['Messages a second', rate(recent(p => p.messages[0] + p.messages[1]))],
    ['Bytes a second', bytes(recent(p => p.bytes[0] + p.bytes[1]))],
    ['Ping, clients', half(client)],
    ['Ping, backends', half(backend)],
  ]);
}

function machine() {
  const { descriptors, memory_bytes, pump_load, reloads, upgrades, limits, dead_peers } = counters;
  const tries = ({ ok, failed }) => failed ? `${count(ok)}, ${count(failed)} failed` : count(ok);
  list($('machine'), [
    pump_load.length && ['Busiest pump', `${Math.round(100 * Math.max(...pump_load))} %`],
    ['Memory', bytes(memory_bytes)],
    ['Descriptors', `${count(descriptors.open)} of ${count(descriptors.max)}`],
    ['Found dead', count(dead_peers.client + dead_peers.backend)],
    ['Limits hit', count(sum(limits))],
    ['Reloads', tries(reloads)],
    ['Upgrades', tries(upgrades)],
  ]);
}

/** Terms and what they are, in a `dl`; what is false is left out. */
function list(element, entries) {
  entries.filter(Boolean).forEach(([term, text, kind = ''], i) => {
    const entry = element.children[i] ?? element.appendChild(make('div', '', make('dt'), make('dd')));
    say(entry.firstChild, term);
    say(entry.lastChild, text);
    entry.lastChild.className = kind;
  });
  while (element.children.length > entries.filter(Boolean).length) element.lastChild.remove();
}

/** The counters that can be counted from two beginnings, since the chosen one. */
function since() {
  if (document.querySelector('[name=since]:checked').value === 'start') return counters;
  const rest = (now, then, key) => now.map(item => {
    const old = then.find(other => key(other) === key(item));
    return { ...item, count: item.count - (old?.count ?? 0) };
  });
  const spread = (now, then) => ({ ...now, counts: now.counts.map((n, i) => n - (then.counts[i] ?? 0)) });
  return {
    handshakes: rest(counters.handshakes, first.handshakes, h => `${h.outcome} ${h.cause}`),
    answers: rest(counters.answers, first.answers, a => a.status),
    ended: rest(counters.ended, first.ended, e => `${e.by} ${e.code} ${e.cause}`),
    round_trip: {
      client: spread(counters.round_trip.client, first.round_trip.client),
      backend: spread(counters.round_trip.backend, first.round_trip.backend),
    },
    lifetime: spread(counters.lifetime, first.lifetime),
  };
}

const sum = items => items.reduce((total, item) => total + item.count, 0);

function handshakes({ handshakes: all, answers }) {
  const opened = sum(all.filter(h => h.outcome === 'opened')), failures = all.filter(h => h.outcome !== 'opened' && h.count > 0);
  const failed = sum(failures);
  $('handshakes-said').replaceChildren(make('b', '', count(opened)), ' opened a tunnel, ', make('b', '', count(failed)), ' did not'
    + (failed ? ` (${(100 * failed / (opened + failed)).toFixed(1)} %), because:` : '.'));
  bars($('handshakes'), failures, 'bad', h => [h.words, h.fault === 'none' ? '' : `fault of the ${h.fault}`]);
  const others = answers.filter(a => a.status !== 101 && a.count > 0);
  say($('answers'), others.length ? `Answered: ${others.map(a => `${a.status ?? 'other'} × ${count(a.count)}`).join(', ')}` : '');
}

function endings(all) {
  const some = all.filter(e => e.count > 0);
  $('ended-said').replaceChildren(make('b', '', count(sum(some))), some.length ? ' ended:' : ' ended.');
  bars($('ended'), some, 'soft', e => [e.code ? `${e.code} ${meaning(e.code)}` : 'other codes', `${e.words}, by the ${e.by}`]);
}

/** Bars, the longest first; what is beyond a few is one line. */
function bars(element, items, kind, words) {
  items = [...items].sort((a, b) => b.count - a.count);
  if (items.length > FEW) {
    const rest = items.splice(FEW - 1);
    items.push({ rest: rest.length, count: sum(rest) });
  }
  const all = sum(items);
  items.forEach((item, i) => {
    const line = element.children[i] ?? element.appendChild(make('li', '', make('span', 'why'), make('span', 'n'), make('span', 'track', make('i'))));
    const [why, n, track] = line.children, [what, more] = item.rest ? [`${item.rest} other causes`, ''] : words(item);
    if (why.said !== what + more) {
      why.replaceChildren(`${what} `, make('small', '', more));
      why.said = what + more;
    }
    say(n, count(item.count));
    track.className = `track ${kind}`;
    track.firstChild.style.width = `${100 * item.count / all}%`;
  });
  while (element.children.length > items.length) element.lastChild.remove();
}

// --- backends ------------------------------------------------------------------------------------------------------

const STATES = { up: '', draining: 'wait', down: 'wait', out: 'bad' };

function backends() {
  const all = upstreams.flatMap(group => group.servers.map(server => ({ ...server, group: group.group, of: sum(group.servers.map(s => ({ count: s.tunnels }))) })));
  const key = all.map(s => `${s.group} ${s.server}`).join('\n');
  const place = $('backends');
  if (place.key !== key) {
    place.key = key;
    place.replaceChildren(all.length ? backendTable(all) : make('p', 'empty', 'No backend has been used yet.'));
  }
  place.querySelectorAll('tbody tr').forEach((row, i) => {
    const server = all[i], [, , state, why, share, act] = row.cells;
    row.server = server;
    say(state.firstChild, server.state === 'out' ? 'left out' : server.state);
    state.firstChild.className = `state ${STATES[server.state] ?? 'wait'}`;
    say(why, [server.why, server.backup && 'backup', server.weight > 1 && `weight ${server.weight}`].filter(Boolean).join(', '));
    share.querySelector('i').style.width = `${server.of ? 100 * server.tunnels / server.of : 0}%`;
    const [, percent, tunnels] = share.firstChild.children;
    say(percent, server.of ? `${Math.round(100 * server.tunnels / server.of)} %` : '–');
    say(tunnels, count(server.tunnels));
    say(act.firstChild, server.state === 'draining' ? 'Return …' : 'Drain …');
    act.firstChild.disabled = hello.writing === 'off';
  });
}

function backendTable(all) {
  const body = make('tbody');
  all.forEach((server, i) => {
    const act = make('button', 'plain small');
    act.type = 'button';
    act.setAttribute('aria-label', `Drain or return ${server.server} of ${server.group}`);
    const row = make('tr', '', make('td', '', all[i - 1]?.group === server.group ? '' : server.group), make('td', '', server.server), make('td', '', make('span', 'state')),
      make('td', 'why'), make('td', '', make('div', 'share', make('span', 'track', make('i')), make('span', 'number'), make('b', 'number'))), make('td', 'do', act));
    act.addEventListener('click', () => change(row.server));
    body.append(row);
  });
  const head = ['Group', 'Server', 'State', '', 'Share, tunnels', ''].map((text, i) => {
    const cell = make('th', i === 4 ? 'number' : i === 3 ? 'why' : '', text);
    cell.scope = 'col';
    return cell;
  });
  return make('table', '', make('thead', '', make('tr', '', ...head)), body);
}

async function change(server) {
  const back = server.state === 'draining', which = `${server.server} of ${server.group}`;
  const answer = await dialog.ask({
    title: back ? `Return ${which}` : `Drain ${which}`, action: back ? 'Return it' : 'Drain it',
    text: back ? 'It gets new tunnels again.' : `It gets no new tunnels, and its ${count(server.tunnels)} tunnels are told one after the other to come back elsewhere (Close 1012). This holds until it is returned or the configuration is read anew.`,
    path: `api/upstreams/${encodeURIComponent(server.group)}/${encodeURIComponent(server.server)}/${back ? 'return' : 'drain'}`, body: () => ({}),
  });
  if (answer) tell(`${which} ${back ? 'is back' : 'drains'}`);
}

let clearing;
function tell(text) {
  say($('done'), text);
  clearTimeout(clearing);
  clearing = setTimeout(() => say($('done'), ''), 4000);
}

document.querySelectorAll('[name=since]').forEach(choice => choice.addEventListener('change', () => counters && draw()));
setInterval(link, 1000);
table.start(tell);
connect();
