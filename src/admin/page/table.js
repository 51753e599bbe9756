// The table of tunnels: one page of it at a time, asked for while somebody looks.

import { ask } from './dialog.js';
import { $, brief, bytes, count, long, make, say } from './words.js';

const EVERY = 2000;   // milliseconds between two looks
const ROWS = matchMedia('(max-width: 52rem)').matches ? 20 : 50;

// Label, what it sorts by, which way first, its class, its share of the width, and what it says of a tunnel.
const COLUMNS = [
  ['Tunnel', 'id', '-', '', 8, t => `#${t.id}`],
  ['Client', 'client', '', 'long', 12.5, t => t.client],
  ['Server and path', 'location', '', 'long', 12.5, t => [t.server, t.location.replace(' ', '\u00a0')].filter(Boolean).join(' ')],
  ['Backend', 'backend', '', 'long', 13.5, t => t.upstream && t.upstream !== t.backend ? `${t.upstream} · ${t.backend}` : t.backend],
  ['Open for', 'age', '-', 'number', 8, t => long(t.age)],
  ['Idle for', 'idle', '-', 'number', 7, t => t.state === 'closing' ? 'closing' : t.idle < 1 ? 'moving' : long(t.idle)],
  ['Round trip', 'rtt', '-', 'number', 11.5, t => `${brief(t.rtt?.client)} / ${brief(t.rtt?.backend)}`],
  ['Messages', 'messages', '-', 'number', 9, t => `${count(t.messages?.from_client)} / ${count(t.messages?.from_backend)}`],
  ['Bytes', 'bytes', '-', 'number', 11.5, t => `${bytes(t.bytes?.from_client)} / ${bytes(t.bytes?.from_backend)}`],
];
const PAIRS = { 'Round trip': 'client / backend', Messages: 'from client / from backend', Bytes: 'from client / from backend' };

const filters = $('filters'), body = $('table').tBodies[0], head = $('table').tHead.rows[0];
const rows = new Map();   // of the tunnels that are shown, by number
let sort = '-id', before = [], after = '', next = null, total = 0, held = false, asked = 0, writing = 'open', done = () => {};

/** Sets up the table; `tell` shows a sentence about what was done. */
export function start(tell) {
  done = tell;
  for (const [label, key, first, kind, width] of COLUMNS) {
    const button = make('button', '', label);
    button.type = 'button';
    if (PAIRS[label]) button.title = PAIRS[label];
    button.addEventListener('click', () => {
      sort = sort.replace('-', '') === key ? (sort[0] === '-' ? key : `-${key}`) : `${first}${key}`;
      again();
    });
    const cell = make('th', kind, button);
    cell.scope = 'col';
    cell.dataset.key = key;
    head.append(cell);
    const column = make('col');
    column.style.width = `${width}%`;
    $('table').querySelector('colgroup').append(column);
  }
  const last = make('th', 'do', make('span', 'hidden', 'End it'));
  last.scope = 'col';
  head.append(last);
  let typing;
  filters.q.addEventListener('input', () => { clearTimeout(typing); typing = setTimeout(again, 200); });
  for (const name of ['upstream', 'state', 'min_idle']) filters[name].addEventListener('change', again);
  filters.addEventListener('submit', event => { event.preventDefault(); again(); });
  $('hold').addEventListener('click', () => {
    held = !held;
    $('hold').setAttribute('aria-pressed', held);
    if (!held) look();
  });
  $('next').addEventListener('click', () => { before.push(after); after = next; look(); });
  $('previous').addEventListener('click', () => { after = before.pop() ?? ''; look(); });
  $('close-all').addEventListener('click', closeAll);
  setInterval(() => held || document.hidden || asked || look(), EVERY);
  document.addEventListener('visibilitychange', () => document.hidden || held || look());
  again();
}

/** What the server lets this page do. */
export function rights(to) {
  writing = to;
  $('reading').hidden = writing !== 'off';
  document.querySelectorAll('#tunnels button.end, #close-all').forEach(allow);
}

function allow(button) {
  button.disabled = writing === 'off';
  button.title = writing === 'off' ? 'The admin address lets nobody change anything: it has no token' : '';
}

/** The names of the groups, for the choice. */
export function groups(names) {
  const select = filters.upstream, known = [...select.options].slice(1).map(option => option.value);
  if (String(known) === String(names)) return;
  const chosen = select.value;
  select.replaceChildren(new Option('all', ''), ...names.map(name => new Option(name, name)));
  select.value = names.includes(chosen) ? chosen : '';
}

const filter = () => Object.fromEntries([...new FormData(filters)].map(([k, v]) => [k, v.trim()]).filter(([, v]) => v));

/** From the first page on. */
function again() {
  [before, after] = [[], ''];
  look();
}

async function look() {
  const number = ++asked;
  const query = new URLSearchParams({ ...filter(), sort, limit: ROWS, ...(after && { after }) });
  let told, fault = '';
  try {
    const answer = await fetch(`api/tunnels?${query}`, { cache: 'no-store', signal: AbortSignal.timeout(10000) });
    told = await answer.json().catch(() => ({}));
    if (!answer.ok) fault = told.error ?? `The list of tunnels answered ${answer.status}.`;
  } catch {
    fault = 'The list of tunnels does not answer; it is asked again.';
  }
  if (number !== asked) return;   // somebody asked for something else meanwhile
  asked = 0;
  $('trouble').hidden = !fault;
  say($('trouble'), fault);
  if (!fault) show(told);
}

function show(told) {
  ({ next, total } = told);
  const from = before.length * ROWS;
  say($('total'), total === told.open || told.open === undefined ? `${count(total)} open` : `${count(total)} of ${count(told.open)} open`);
  say($('place'), total ? `${count(from + 1)} to ${count(from + told.tunnels.length)} of ${count(total)}` : '');
  $('next').disabled = !next;
  $('previous').disabled = !before.length;
  $('close-all').hidden = !total;
  for (const cell of head.querySelectorAll('[data-key]')) {
    if (cell.dataset.key === sort.replace('-', '')) cell.ariaSort = sort[0] === '-' ? 'descending' : 'ascending';
    else cell.removeAttribute('aria-sort');
  }
  // A row that is moved loses the focus in it.
  const focused = document.activeElement;
  empty(!told.tunnels.length);
  const shown = new Set(told.tunnels.map(tunnel => tunnel.id));
  const spare = [...rows.values()].filter(row => !shown.has(row.tunnel.id));
  for (const row of spare) rows.delete(row.tunnel.id);
  told.tunnels.forEach((tunnel, i) => {
    const row = rows.get(tunnel.id) ?? free(spare, body.children[i]);
    rows.set(tunnel.id, row);
    fill(row, tunnel);
    if (body.children[i] !== row) body.insertBefore(row, body.children[i] ?? null);
  });
  for (const row of spare) row.remove();
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

/** A row for a tunnel that was not shown: one that is free, best the one at its place, or a new one. */
function free(spare, at) {
  if (!spare.length) return fresh();
  const row = spare.splice(Math.max(0, spare.indexOf(at)), 1)[0];
  // Nobody shall close another tunnel than the one whose button they were at.
  if (row.contains(document.activeElement)) document.activeElement.blur();
  return row;
}

function fill(row, tunnel) {
  if (row.tunnel?.id !== tunnel.id) {
    row.dataset.id = tunnel.id;
    row.end.setAttribute('aria-label', `Close tunnel ${tunnel.id}`);
  }
  row.tunnel = tunnel;
  COLUMNS.forEach(([, , , , , text], column) => say(row.cells[column], text(tunnel)));
  row.end.disabled = writing === 'off' || tunnel.state === 'closing';
}

function empty(is) {
  let line = body.querySelector('.empty');
  if (!is) return line?.parentElement.remove();
  if (!line) {
    line = make('td', 'empty');
    line.colSpan = COLUMNS.length + 1;
    body.append(make('tr', '', line));
  }
  say(line, Object.keys(filter()).length ? 'No tunnel is like that.' : 'No tunnel is open.');
}

function fresh() {
  const row = make('tr');
  for (const [label, , , kind] of COLUMNS) {
    const cell = make('td', kind);
    cell.dataset.label = label;
    row.append(cell);
  }
  row.end = make('button', 'plain small end', 'Close…');
  row.end.type = 'button';
  allow(row.end);
  row.end.addEventListener('click', () => close(row.tunnel));
  row.append(make('td', 'do', row.end));
  return row;
}

async function close(tunnel) {
  const way = `${tunnel.client} to ${tunnel.backend}, open for ${long(tunnel.age)}`;
  const answer = await ask({
    title: `Close tunnel #${tunnel.id}`, text: `${way}. Both ends get a Close frame at the next frame boundary.`, action: 'Close it',
    path: `api/tunnels/${tunnel.id}/close`, close: 'one', body: ({ code, reason }) => ({ code, reason }),
  });
  if (answer) done(`Tunnel #${tunnel.id} was told to close`);
  look();
}

async function closeAll() {
  const which = filter(), all = !Object.keys(which).length;
  const answer = await ask({
    title: `Close ${count(total)} tunnels`, action: all ? 'Close every tunnel' : 'Close them', path: 'api/tunnels/close', close: 'many',
    text: all ? 'No filter is set: this is every tunnel that is open. They are told one after the other.'
      : `All that match the filter, also those that are not on this page of the table: ${Object.entries(which).map(([k, v]) => `${k} ${v}`).join(', ')}. They are told one after the other.`,
    body: ({ code, reason, rate }) => ({ filter: which, all, code, reason, rate }),
  });
  if (answer) done(`${count(answer.count)} tunnels are being closed${answer.over >= 1 ? `, within ${long(answer.over)}` : ''}`);
  look();
}
