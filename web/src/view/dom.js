/**
 * Elements without markup: what others say only ever becomes text.
 *
 * @typedef {Record<string, any> & {onkeydown?: (event: KeyboardEvent) => void, onsubmit?: (event: Event) => void,
 *   onclick?: (event: MouseEvent) => void, onpointerdown?: (event: PointerEvent) => void}} Properties
 */

/**
 * An element with its classes, or with properties: those with a dash are attributes, and `test` is what tests find it by.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Properties | string} [properties]
 * @param {(Node | string | null)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  if (typeof properties === 'string') properties = { className: properties };
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'test') element.setAttribute('data-test', value);
    else if (name.includes('-')) element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  for (const child of children) if (child !== null) element.append(child);
  return element;
}

/** A button that sends no form. @param {string} look @param {() => unknown} act @param {Properties} properties @param {(Node | string | null)[]} children */
export function button(look, act, properties, ...children) {
  return h('button', { type: 'button', className: look, onclick: act, ...properties }, ...children);
}

/** Only where it changes: nothing is announced or laid out for nothing. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Element} element @param {string} name @param {string | boolean} value */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/**
 * Keeps the children of a list in step with items, one element for each.
 * @template T
 * @template {{element: HTMLElement, update: (item: T) => void}} R
 * @param {HTMLElement} list
 * @param {(item: T) => string} key
 * @param {(item: T) => R} create
 */
export function keyed(list, key, create) {
  /** @type {Map<string, R>} */
  const rows = new Map();
  return (/** @type {readonly T[]} */ items) => {
    const wanted = new Set(items.map(key));
    for (const [id, row] of rows) {
      if (wanted.has(id)) continue;
      row.element.remove();
      rows.delete(id);
    }
    items.forEach((item, at) => {
      const id = key(item);
      let row = rows.get(id);
      if (!row) rows.set(id, (row = create(item)));
      row.update(item);
      if (list.children[at] !== row.element)
        list.insertBefore(row.element, list.children[at] ?? null);
    });
    return rows;
  };
}

/** A bar that moves without a new layout. Hidden from screen readers: text elsewhere says the same. */
export function meter() {
  const bar = h('i');
  let shown = '';
  return {
    element: h('div', { className: 'meter', ariaHidden: 'true' }, bar),
    /** @param {number} level from 0 to 1 */
    set(level) {
      const scale = level.toFixed(2);
      if (scale === shown) return;
      shown = scale;
      bar.style.transform = `scaleX(${scale})`;
    },
  };
}

/** A switch with its words. @param {string} words @param {boolean} checked @param {(on: boolean) => void} changed @param {Properties} [properties] */
export function toggle(words, checked, changed, properties = {}) {
  const input = h('input', {
    type: 'checkbox',
    className: 'switch',
    checked,
    onchange: () => changed(input.checked),
    ...properties,
  });
  return h('label', 'check', h('span', {}, words), input);
}

/** @param {number} size in px */
export const logo = (size) =>
  h('img', {
    src: new URL('../icon.svg', import.meta.url).href,
    alt: '',
    width: size,
    height: size,
    onerror: (/** @type {any} */ event) => event.target.remove(),
  });

/** Does what may not be possible, and tells why it is not: in a sentence of this page's, never in the browser's words. @param {(problem: string) => void} tell @param {() => void} act */
export function trying(tell, act) {
  try {
    act();
  } catch (error) {
    // The page throws plain errors with a sentence, the browser others.
    if (error instanceof Error && error.constructor === Error) return tell(error.message);
    console.error(error);
    tell('That did not work. Try again. If it stays, reload the page.');
  }
}

/** A form that sends what was written, even if that is nothing. @param {(text: string) => void} tell @param {(text: string) => void} send @param {HTMLInputElement | HTMLTextAreaElement} input @param {Node[]} children */
export function writer(tell, send, input, ...children) {
  return h(
    'form',
    {
      className: 'write',
      onsubmit: (event) => {
        event.preventDefault();
        const text = input.value.trim();
        trying(tell, () => {
          send(text);
          input.value = '';
        });
      },
    },
    ...children,
  );
}

const PATHS = {
  microphone: 'M12 15a3 3 0 0 0 3-3V6a3 3 0 0 0-6 0v6a3 3 0 0 0 3 3Zm6-3a6 6 0 0 1-12 0m6 6v3',
  headphones:
    'M4 15v-3a8 8 0 0 1 16 0v3M4 15a2 2 0 0 1 4 0v3a2 2 0 0 1-4 0Zm12 0a2 2 0 0 1 4 0v3a2 2 0 0 1-4 0Z',
  settings:
    'M4 7h8m6 0h2M4 17h2m6 0h8M12 7a3 3 0 1 0 6 0 3 3 0 0 0-6 0ZM6 17a3 3 0 1 0 6 0 3 3 0 0 0-6 0Z',
  hold: 'M12 10V3m-3 4 3 3 3-3M4 14h16v6H4z',
  leave:
    'M14 8V5a1 1 0 0 0-1-1H6a1 1 0 0 0-1 1v14a1 1 0 0 0 1 1h7a1 1 0 0 0 1-1v-3m-4-4h10m-3-3 3 3-3 3',
  link: 'M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-6-6L12 7m2 3a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 6 6L12 17',
  lock: 'M6 11h12v9H6zm2 0V8a4 4 0 0 1 8 0v3',
  speaker: 'M5 10v4h3l4 4V6l-4 4Zm11-1a4 4 0 0 1 0 6m3-9a8 8 0 0 1 0 12',
};

/** A picture; pressed buttons show it struck out. @param {keyof typeof PATHS} name */
export function icon(name) {
  const draw = (/** @type {string} */ tag, /** @type {Record<string, string>} */ attributes) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const name in attributes) element.setAttribute(name, attributes[name]);
    return element;
  };
  const svg = draw('svg', { viewBox: '0 0 24 24', 'aria-hidden': 'true' });
  svg.append(draw('path', { d: PATHS[name] }), draw('path', { d: 'M4 4l16 16', class: 'off' }));
  return svg;
}
