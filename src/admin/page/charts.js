// Curves over time and distributions, drawn as SVG.

import { brief, clock, count, make, say } from './words.js';

const NS = 'http://www.w3.org/2000/svg';
const WINDOW = 600;   // seconds that a curve shows
const LEFT = 46, BOTTOM = 18, TOP = 6;

function draw(tag, attributes = {}, text = '') {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== '') element.textContent = text;
  return element;
}

/** The next larger number of 1, 2, 4, 5, 8, 10 times a power of ten. */
function ceiling(n) {
  if (n <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 4, 5, 8, 10].find(step => step * power >= n) * power;
}

/**
 * Curves of the last ten minutes. `series`: name, class, and the value of a point. A pointer or the arrow keys choose a
 * second, whose values the caption then says; otherwise it says the latest.
 */
export class Curves {
  constructor(figure, height, label, series) {
    Object.assign(this, { figure, height, label, series, points: [], chosen: null, width: 0 });
    this.caption = make('figcaption');
    this.values = series.map(({ name, kind }) => {
      const value = make('b');
      this.caption.append(make('span', `key ${kind}`, value, ` ${name}`));
      return value;
    });
    this.at = make('span', 'at');
    this.caption.append(this.at);
    this.svg = draw('svg', { height, tabindex: 0, role: 'img' });
    this.grid = draw('g');
    this.cursor = draw('line', { class: 'cursor', visibility: 'hidden' });
    this.paths = series.map(({ kind, filled }) => ({
      area: filled && draw('path', { class: `area ${kind}` }),
      curve: draw('path', { class: `curve ${kind}` }),
    }));
    this.svg.append(this.grid, ...this.paths.flatMap(p => [p.area, p.curve].filter(Boolean)), this.cursor);
    figure.append(this.caption, this.svg);
    new ResizeObserver(([entry]) => { this.width = entry.contentRect.width; this.draw(); }).observe(figure);
    this.svg.addEventListener('pointermove', event => this.choose(this.secondAt(event.offsetX)));
    this.svg.addEventListener('pointerleave', () => this.choose(null));
    this.svg.addEventListener('blur', () => this.choose(null));
    this.svg.addEventListener('keydown', event => this.key(event));
  }

  get latest() { return this.points.at(-1)?.at ?? 0; }

  show(points) {
    this.points = points;
    this.draw();
  }

  x(at) { return LEFT + (this.width - LEFT) * (1 - (this.latest - at) / WINDOW); }

  secondAt(x) { return Math.round(this.latest - WINDOW * (1 - (x - LEFT) / (this.width - LEFT))); }

  choose(at) {
    this.chosen = at;
    // Read aloud what somebody chose, and not each second.
    this.caption.ariaLive = at === null ? 'off' : 'polite';
    this.read();
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -60, PageDown: 60 }[event.key];
    const from = this.chosen ?? this.latest;
    const to = event.key === 'Home' ? this.points[0]?.at : event.key === 'End' ? this.latest : step && from + step * (event.shiftKey ? 10 : 1);
    if (event.key === 'Escape') this.choose(null);
    if (to === undefined) return;
    event.preventDefault();
    this.choose(Math.min(this.latest, Math.max(this.points[0]?.at ?? to, to)));
  }

  /** Says the values of the chosen second, or of the latest. */
  read() {
    const near = this.chosen === null ? this.points.at(-1)
      : this.points.reduce((best, p) => Math.abs(p.at - this.chosen) < Math.abs(best.at - this.chosen) ? p : best, this.points[0] ?? {});
    const told = this.series.map(({ value }) => near?.at ? count(value(near)) : '–');
    this.values.forEach((element, i) => say(element, told[i]));
    say(this.at, this.chosen !== null && near?.at ? clock(near.at) : 'now');
    const x = this.chosen !== null && near?.at ? this.x(near.at) : null;
    this.cursor.setAttribute('visibility', x === null ? 'hidden' : 'visible');
    if (x !== null) for (const [name, value] of Object.entries({ x1: x, x2: x, y1: TOP, y2: this.height - BOTTOM })) this.cursor.setAttribute(name, value);
    this.svg.setAttribute('aria-label', `${this.label}, ${this.chosen === null ? 'now' : clock(near?.at ?? 0)}: `
      + this.series.map(({ name }, i) => `${told[i]} ${name}`).join(', ') + '. Arrow keys choose another second.');
  }

  draw() {
    if (!this.width) return;
    const shown = this.points.filter(p => p.at > this.latest - WINDOW);
    let most = 0;
    for (const point of shown) for (const { value } of this.series) most = Math.max(most, value(point) || 0);
    const top = ceiling(most), floor = this.height - BOTTOM;
    const y = n => floor - (floor - TOP) * n / top;
    this.axes(top, y, floor);
    this.paths.forEach(({ area, curve }, i) => {
      let path = '', last = null, from = null;
      for (const point of shown) {
        const x = this.x(point.at).toFixed(1);
        // Where seconds are missing the curve has a gap.
        path += `${last !== null && point.at - last < 5 ? 'L' : 'M'}${x} ${y(this.series[i].value(point) || 0).toFixed(1)}`;
        from ??= x;
        last = point.at;
      }
      curve.setAttribute('d', path);
      if (area) area.setAttribute('d', path && `M${from} ${floor}L${path.slice(1).replaceAll('M', 'L')}L${this.x(last).toFixed(1)} ${floor}Z`);
    });
    this.read();
  }

  axes(top, y, floor) {
    const key = `${top} ${Math.round(this.width)}`;
    if (this.drawn === key) return;
    this.drawn = key;
    this.svg.setAttribute('viewBox', `0 0 ${this.width} ${this.height}`);
    this.grid.replaceChildren();
    for (const part of [0, .25, .5, .75, 1]) {
      const at = y(top * part).toFixed(1);
      this.grid.append(draw('line', { class: 'grid', x1: LEFT, x2: this.width, y1: at, y2: at }));
      if (part % .5 === 0) this.grid.append(draw('text', { class: 'tick right', x: LEFT - 8, y: Number(at) + 4 }, count(top * part)));
    }
    const steps = this.width < 620 ? [10, 5, 0] : [10, 8, 6, 4, 2, 0];
    for (const minutes of steps) {
      const x = LEFT + (this.width - LEFT) * (1 - minutes / 10);
      const side = minutes === 0 ? 'tick right' : minutes === 10 ? 'tick' : 'tick middle';
      this.grid.append(draw('text', { class: side, x, y: floor + 14 }, minutes ? `${minutes} min ago` : 'now'));
    }
  }
}

/**
 * The bound that this share of a histogram does not exceed, for of what lies inside a bucket nothing more is known:
 * Infinity beyond the last bound, null when it is empty.
 */
export function quantile({ bounds, counts }, share) {
  const total = counts.reduce((sum, n) => sum + n, 0);
  if (!total) return null;
  let below = 0;
  const at = counts.findIndex(n => (below += n) >= share * total);
  return bounds[at] ?? Infinity;
}

/** A distribution as bars, with its middle and its tail in words. */
export class Distribution {
  constructor(figure, name, kind) {
    Object.assign(this, { name, kind, height: 74, width: 0 });
    this.words = make('span');
    this.svg = draw('svg', { height: this.height, role: 'img' });
    figure.append(make('figcaption', '', make('span', `key ${kind}`, make('b', '', name)), this.words), this.svg);
    new ResizeObserver(([entry]) => { this.width = entry.contentRect.width; this.draw(); }).observe(figure);
  }

  /** `bounds` in seconds, and how many lie between them; the last count is of what lies beyond. */
  show(histogram) {
    this.histogram = histogram;
    this.draw();
  }

  draw() {
    if (!this.width || !this.histogram) return;
    const { bounds, counts } = this.histogram;
    const key = `${this.width} ${counts}`;
    if (this.drawn === key) return;
    this.drawn = key;
    const total = counts.reduce((sum, n) => sum + n, 0);
    const most = (share, within, beyond) => {
      const bound = quantile(this.histogram, share);
      return bound === Infinity ? `more than ${beyond} over ${brief(bounds.at(-1))}` : `${within} at most ${brief(bound)}`;
    };
    const told = total ? `${most(.5, 'half', 'half')}, ${most(.99, '99 of 100', '1 of 100')}, of ${count(total)}` : 'none yet';
    say(this.words, told);
    this.svg.setAttribute('aria-label', `${this.name}: ${told}`);
    this.svg.setAttribute('viewBox', `0 0 ${this.width} ${this.height}`);
    const slot = this.width / counts.length, floor = this.height - 16, highest = Math.max(1, ...counts);
    const every = Math.ceil(64 / slot);
    this.svg.replaceChildren(draw('line', { class: 'grid', x1: 0, x2: this.width, y1: floor, y2: floor }));
    counts.forEach((n, i) => {
      const height = n ? Math.max(2, (floor - 4) * n / highest) : 0;
      const bar = draw('rect', { class: this.kind, x: (i * slot + 1).toFixed(1), width: Math.max(1, slot - 2).toFixed(1), y: (floor - height).toFixed(1), height: height.toFixed(1), rx: 2 });
      const range = i === bounds.length ? `over ${brief(bounds.at(-1))}` : `${i ? brief(bounds[i - 1]) : '0'} to ${brief(bounds[i])}`;
      bar.append(draw('title', {}, `${range}: ${count(n)}`));
      this.svg.append(bar);
      if (i < bounds.length && i % every === every - 1) this.svg.append(draw('text', { class: 'tick middle', x: ((i + 1) * slot).toFixed(1), y: this.height - 2 }, brief(bounds[i])));
    });
  }
}
