/** A program in tmux, and what its terminal shows as HTML. */

import { execFileSync } from 'node:child_process';

const NORMAL = { foreground: '#d8dce4', background: '#14171f' };
/** The sixteen numbered colours: eight normal ones, eight bright ones. */
const NUMBERED = [
  '#14171f',
  '#ef7682',
  '#8fce8a',
  '#e3c27a',
  '#7fb2f0',
  '#c99bf0',
  '#6fd0d2',
  '#d8dce4',
  '#737b8c',
  '#ff9aa4',
  '#aee8a9',
  '#f6dda0',
  '#a5cbff',
  '#e0bcff',
  '#98e9ea',
  '#ffffff',
];
const BETWEEN_LOOKS_MS = 100;

/** A tmux server with one window. It ends with `close`, and the program in it too. */
export class Terminal {
  /** @param {string} folder for tmux's socket @param {{columns: number, rows: number}} size @param {string[]} command */
  constructor(folder, { columns, rows }, command) {
    this.columns = columns;
    /** @type {NodeJS.ProcessEnv} without TMUX, which would name another server */
    this.env = { ...process.env, TMUX: undefined, LC_ALL: 'C.UTF-8', TMUX_TMPDIR: folder };
    const variables = ['TERM=xterm-256color', 'LANG=C.UTF-8', 'COLORTERM=truecolor'];
    this.#tmux(
      'new-session',
      '-d',
      '-s',
      'one',
      '-x',
      String(columns),
      '-y',
      String(rows),
      'env',
      '-u',
      'NO_COLOR',
      ...variables,
      ...command,
    );
  }

  /** What it shows, with escape sequences for colours. */
  coloured() {
    return this.#tmux('capture-pane', '-e', '-N', '-p', '-t', 'one');
  }

  /** Types a line. @param {string} line */
  type(line) {
    this.#tmux('send-keys', '-t', 'one', '-l', line);
    this.#tmux('send-keys', '-t', 'one', 'Enter');
  }

  /** Waits until the text that it shows is as wanted. @param {string} what @param {(text: string) => boolean} wanted @param {number} patienceMs */
  async waitUntil(what, wanted, patienceMs) {
    for (const deadline = Date.now() + patienceMs; ;) {
      const text = this.#tmux('capture-pane', '-p', '-t', 'one');
      if (wanted(text)) return;
      if (Date.now() > deadline) throw new Error(`the terminal does not show ${what}:\n${text}`);
      await new Promise((done) => setTimeout(done, BETWEEN_LOOKS_MS));
    }
  }

  close() {
    this.#tmux('kill-server');
  }

  /** @param {string[]} parameters */
  #tmux(...parameters) {
    return execFileSync('tmux', ['-u', '-L', 'voicemesh', '-f', '/dev/null', ...parameters], {
      env: this.env,
      encoding: 'utf8',
    });
  }
}

/** A page that shows what a terminal captured with escape sequences shows. @param {string} captured @param {number} columns */
export function asHtml(captured, columns) {
  return `<!doctype html><meta charset="utf-8"><style>
    body { margin: 0; background: ${NORMAL.background} }
    pre { margin: 0; padding: 14px 18px; width: ${columns}ch; color: ${NORMAL.foreground}; background: ${NORMAL.background};
          font: 14px/1.32 "DejaVu Sans Mono", Menlo, Consolas, monospace }
  </style><pre>${spans(captured.trimEnd())}</pre>`;
}

/** Attributes stay in force over the ends of lines. @param {string} captured */
function spans(captured) {
  let style = new Style();
  return captured
    .split(/\x1b\[([\d;:]*)m/)
    .map((part, at) => {
      if (at % 2 === 0)
        return part === '' ? '' : `<span style="${style.css()}">${escaped(part)}</span>`;
      style = style.with(part.split(/[;:]/).map(Number));
      return '';
    })
    .join('');
}

/** @param {string} text without other escape sequences, which a capture does not have */
const escaped = (text) =>
  text
    .replaceAll(/\x1b.|[\x0e\x0f]/g, '')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;');

/** The attributes of a piece of text, as far as the live view uses them. */
class Style {
  /** @type {string | null} */
  foreground = null;
  /** @type {string | null} */
  background = null;
  flags = { bold: false, dim: false, italic: false, underline: false, reverse: false };

  css() {
    const { bold, dim, italic, underline, reverse } = this.flags;
    const colours = [this.foreground ?? NORMAL.foreground, this.background ?? NORMAL.background];
    const [foreground, background] = reverse ? colours.reverse() : colours;
    return (
      `color:${foreground};background:${background}${bold ? ';font-weight:bold' : ''}${dim ? ';opacity:.65' : ''}` +
      `${italic ? ';font-style:italic' : ''}${underline ? ';text-decoration:underline' : ''}`
    );
  }

  /** The style after this sequence. @param {number[]} codes */
  with(codes) {
    const next = new Style();
    Object.assign(next, this, { flags: { ...this.flags } });
    while (codes.length > 0) next.#apply(codes);
    return next;
  }

  /** @param {number[]} codes of which it takes one, with its parameters */
  #apply(codes) {
    const code = codes.shift() ?? 0;
    if (code === 0) Object.assign(this, new Style());
    else if (code === 1) this.flags.bold = true;
    else if (code === 2) this.flags.dim = true;
    else if (code === 3) this.flags.italic = true;
    else if (code === 4) this.flags.underline = true;
    else if (code === 7) this.flags.reverse = true;
    else if (code >= 30 && code <= 37) this.foreground = NUMBERED[code - 30] ?? null;
    else if (code >= 90 && code <= 97) this.foreground = NUMBERED[code - 82] ?? null;
    else if (code >= 40 && code <= 47) this.background = NUMBERED[code - 40] ?? null;
    else if (code >= 100 && code <= 107) this.background = NUMBERED[code - 92] ?? null;
    else if (code === 38) this.foreground = colour(codes);
    else if (code === 48) this.background = colour(codes);
    else if (code === 39) this.foreground = null;
    else if (code === 49) this.background = null;
  }
}

/** A colour of 256, or of red, green and blue. @param {number[]} codes of which it takes its parameters */
function colour(codes) {
  if (codes.shift() === 2) return `rgb(${codes.splice(0, 3).join(',')})`;
  const number = codes.shift() ?? 0;
  if (number < 16) return NUMBERED[number] ?? null;
  if (number >= 232)
    return `rgb(${Array(3)
      .fill(8 + (number - 232) * 10)
      .join(',')})`;
  const level = (/** @type {number} */ step) => (step === 0 ? 0 : 55 + step * 40);
  const cube = number - 16;
  return `rgb(${[Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map(level).join(',')})`;
}
