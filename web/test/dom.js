// As much of a page as its parts need to be built and read.

export class FakeElement extends EventTarget {
  /** @type {any[]} */
  childNodes = [];
  /** @type {FakeElement | null} */
  parent = null;
  className = '';
  hidden = false;
  value = '';
  validationMessage = '';
  /** @type {Record<string, any>} */
  dataset = {};
  /** @type {Map<string, string>} */
  attributes = new Map();
  open = false;
  /** @type {() => void} */
  onclose = () => {};

  get children() {
    return this.childNodes.filter((node) => typeof node !== 'string');
  }

  get firstElementChild() {
    return this.children[0] ?? null;
  }

  get lastElementChild() {
    return this.children.at(-1) ?? null;
  }

  /** @returns {string} */
  get textContent() {
    return this.childNodes
      .map((node) => (typeof node === 'string' ? node : node.textContent))
      .join('');
  }

  set textContent(text) {
    this.childNodes = text === '' ? [] : [text];
  }

  get selectedOptions() {
    return this.children.filter(({ value }) => value === this.value);
  }

  /** @param {any[]} nodes */
  append(...nodes) {
    for (const node of nodes) {
      if (typeof node !== 'string') node.parent = this;
      this.childNodes.push(node);
    }
  }

  /** @param {any[]} nodes */
  replaceChildren(...nodes) {
    this.childNodes = [];
    this.append(...nodes);
  }

  remove() {
    if (this.parent) this.parent.childNodes = this.parent.childNodes.filter((one) => one !== this);
  }

  /** @param {string} name @param {string} value */
  setAttribute(name, value) {
    this.attributes.set(name, String(value));
  }

  /** @param {string} name */
  getAttribute(name) {
    return this.attributes.get(name) ?? null;
  }

  /** @param {string} name @param {boolean} on */
  toggleAttribute(name, on) {
    if (on) this.attributes.set(name, '');
    else this.attributes.delete(name);
  }

  /** @param {any} node @param {any} before */
  insertBefore(node, before) {
    node.remove();
    node.parent = this;
    const at = before ? this.childNodes.indexOf(before) : this.childNodes.length;
    this.childNodes.splice(at, 0, node);
  }

  /** @param {string} text */
  setCustomValidity(text) {
    this.validationMessage = text;
  }

  closest() {
    return null;
  }

  focus() {
    /** @type {any} */ (globalThis).document.activeElement = this;
  }

  select() {}

  showModal() {
    this.open = true;
  }

  close() {
    this.open = false;
    this.onclose();
  }

  /** What tests find an element by. @param {string} name @returns {any} */
  at(name) {
    if (this.getAttribute('data-test') === name) return this;
    return this.children.map((child) => child.at(name)).find(Boolean);
  }
}

/** Until the test ends. @param {import('node:test').TestContext} t */
export function fakePage(t) {
  const make = () => new FakeElement();
  const body = make();
  const document = { createElement: make, createElementNS: make, body, activeElement: body };
  Object.assign(globalThis, { document });
  t.after(() => Reflect.deleteProperty(globalThis, 'document'));
  return document;
}
