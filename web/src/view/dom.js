/** Elements without markup: what others say only ever becomes text. */

/**
 * An element. Properties that begin with `on` are listeners, those with a dash or an `aria`, `data` or `role` attributes.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [properties]
 * @param {(Node | string | null | undefined)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'class') element.className = value;
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name.includes('-') || name === 'role' || name === 'for' || name === 'list') element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

/** Sets a text or an attribute only where it changes, so that nothing is announced or laid out for nothing. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Element} element @param {string} name @param {string | boolean | null} value null removes it */
export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/**
 * Keeps the children of a list in step with items, each in an element of its own.
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
      if (!row) rows.set(id, row = create(item));
      row.update(item);
      if (list.children[at] !== row.element) list.insertBefore(row.element, list.children[at] ?? null);
    });
    return rows;
  };
}

/** A meter that moves without a new layout. @param {string} label */
export function meter(label) {
  const bar = h('i');
  const element = h('div', { class: 'meter', role: 'img', 'aria-label': label }, bar);
  let shown = '';
  return {
    element,
    set(/** @type {number} */ level) {
      const next = `scaleX(${level.toFixed(2)})`;
      if (next !== shown) bar.style.transform = shown = next;
    },
  };
}

/** A switch with its words. @param {string} words @param {boolean} checked @param {(on: boolean) => void} changed @param {Record<string, any>} [properties] */
export function toggle(words, checked, changed, properties = {}) {
  const input = h('input', { type: 'checkbox', checked, onchange: () => changed(input.checked), ...properties });
  return { element: h('label', { class: 'check' }, input, h('span', {}, words)), input };
}

const PATHS = {
  microphone: 'M12 15a3 3 0 0 0 3-3V6a3 3 0 0 0-6 0v6a3 3 0 0 0 3 3Zm6-3a6 6 0 0 1-12 0M12 18v3',
  headphones: 'M4 15v-3a8 8 0 0 1 16 0v3M4 15a2 2 0 0 1 4 0v3a2 2 0 0 1-4 0Zm12 0a2 2 0 0 1 4 0v3a2 2 0 0 1-4 0Z',
  settings: 'M4 7h9m5 0h2M4 17h2m5 0h9M15 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM8.500 19.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5Z',
  leave: 'M14 8V5a1 1 0 0 0-1-1H6a1 1 0 0 0-1 1v14a1 1 0 0 0 1 1h7a1 1 0 0 0 1-1v-3M10 12h10m-3-3 3 3-3 3',
  link: 'M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.700-5.700L12 7m2 3a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.700 5.700L12 17',
  speaker: 'M5 10v4h3l4 4V6l-4 4Zm11-1a4 4 0 0 1 0 6m2.500-9a8 8 0 0 1 0 12',
  off: 'M4 4l16 16',
};

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  for (const [part, d] of [['', PATHS[name]], ['off', PATHS.off]]) {
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    path.setAttribute('d', d);
    if (part) path.setAttribute('class', part);
    svg.append(path);
  }
  return svg;
}
