// Elements from data. Text is only ever text: no string becomes markup anywhere on this page.

export const byId = (id) => document.getElementById(id);

const APART = { class: (e, v) => { e.className = v; }, text: (e, v) => { e.textContent = v; } };

/** Make an element: attributes, `on...` listeners, then children (elements or strings; null is left out). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (APART[name]) APART[name](element, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((each) => each !== null && each !== undefined));
  return element;
}

/** Set a text only where it differs: a row that says the same again costs nothing. */
export function say(element, text) {
  if (element.said !== text) {
    element.said = text;
    element.textContent = text;
  }
}

/** Set an attribute only where it differs; null removes it. */
export function mark(element, name, value) {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/** A button. `why` is the reason for which it does nothing: it stays reachable, and says so. */
export function button(label, onclick, { kind = "quiet", why = "", ...attributes } = {}) {
  return h("button", {
    type: "button", class: kind, onclick, "aria-disabled": why ? "true" : null, title: why || null, ...attributes,
  }, label);
}
