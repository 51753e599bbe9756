// How figures, times and codes are said.

const plain = new Intl.NumberFormat('en');

/** A count, with its thousands apart. */
export const count = n => n == null ? '–' : plain.format(Math.round(n));

/** A rate: small ones with a digit behind the point. */
export const rate = n => n == null ? '–' : n !== 0 && n < 10 && n % 1 ? n.toFixed(1) : count(n);

/** Bytes with three digits and a unit. */
export function bytes(n) {
  if (n == null) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) [n, unit] = [n / 1000, unit + 1];
  return `${unit === 0 || n >= 99.5 ? Math.round(n) : n.toPrecision(n < 9.95 ? 2 : 3)} ${units[unit]}`;
}

/** A short time, seconds given: 250 µs, 1.2 ms, 3.4 s. */
export function brief(s) {
  if (s == null) return '–';
  if (s < 0.001) return `${Math.round(s * 1e6)} µs`;
  if (s < 1) return `${digits(s * 1000)} ms`;
  return s < 60 ? `${digits(s)} s` : long(s);
}

const digits = n => n < 10 && n % 1 ? n.toFixed(n < 1 ? 2 : 1) : String(Math.round(n));

/** A long time, seconds given, in its two largest units: 3 d 4 h, 12 min 5 s. */
export function long(s) {
  if (s == null) return '–';
  s = Math.max(0, Math.floor(s));
  const units = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];
  const first = units.findIndex(([, size]) => s >= size);
  if (first < 0) return '0 s';
  return units.slice(first, first + 2)
    .map(([name, size]) => { const n = Math.floor(s / size); s -= n * size; return n ? `${n} ${name}` : ''; })
    .filter(Boolean).join(' ');
}

/** The time of day, Unix seconds given. */
export const clock = at => new Date(at * 1000).toLocaleTimeString([], { hour12: false });

/** What a Close code says. */
export function meaning(code) {
  const words = {
    1000: 'normal end',
    1001: 'going away',
    1002: 'protocol error',
    1003: 'a kind of data that is not accepted',
    1005: 'closed without a code',
    1006: 'no Close frame came',
    1007: 'text that is not UTF-8',
    1008: 'against the policy',
    1009: 'message too big',
    1010: 'an extension is missing',
    1011: 'the server failed',
    1012: 'the service restarts',
    1013: 'overloaded, try again later',
    1014: 'the backend is gone',
    1015: 'TLS failed',
  };
  return words[code] ?? (code >= 4000 ? 'a code of the application' : code >= 3000 ? 'a registered code' : 'an unknown code');
}

/** An element with a class and text or children. */
export function make(tag, className = '', ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Sets a text only where it changed: an unchanged one costs no layout, and another one no new node. */
export function say(element, text) {
  text = String(text);
  const node = element.firstChild;
  if (!node) element.textContent = text;
  else if (node.data !== text) node.nodeType === 3 ? node.data = text : element.textContent = text;
}

export const $ = id => document.getElementById(id);
