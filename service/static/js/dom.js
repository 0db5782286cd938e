/** Making elements: the only place that touches `document.createElement`. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {Element} element
 * @param {Record<string, any>} props `on*` are listeners, `class` and `aria-*` attributes; false and null leave out
 * @param {any[]} children strings, nodes, lists of them; null and false are left out
 */
function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(/** @type {HTMLElement} */ (element).style, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** @returns {HTMLElement} */
export const h = (tag, props = {}, ...children) => /** @type {HTMLElement} */ (fill(document.createElement(tag), props, children));

/** @returns {SVGElement} */
export const s = (tag, props = {}, ...children) =>
  /** @type {SVGElement} */ (fill(document.createElementNS(SVG, tag), props, children));

/** @returns {any} the element of this id, which the page has */
export const byId = (id) => document.getElementById(id);

/** Show or hide by the attribute that assistive technology knows. */
export const show = (element, visible) => element.toggleAttribute("hidden", !visible);

/** Whether what an element shows is still on its way. */
export const busy = (element, is) => element.setAttribute("aria-busy", String(is));

/** A function that runs `action` once calls have paused for so long; `.now()` runs it at once, `.stop()` never. */
export function debounced(action, delay) {
  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = window.setTimeout(action, delay);
  };
  later.now = () => (clearTimeout(timer), action());
  later.stop = () => clearTimeout(timer);
  return later;
}
