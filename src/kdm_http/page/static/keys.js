// The keyboard, and the dialog that explains it. Keys of one letter can be turned off (WCAG 2.1.4).

import { button, h } from "./dom.js";
import { CHOICES, prefer, preferences } from "./preferences.js";

const KEYS = [
  ["/", "search"], ["j  k  ↓  ↑", "next or previous Deployment"], ["+  -", "one more or one less"],
  ["s", "set the count of the selected, or of this one"], ["x", "select"], ["Enter", "open"],
  ["u", "undo the newest change of the open one"], ["Esc", "close, or clear"], ["?", "this"],
];

const typing = (target) => target.matches?.("input:not([type=checkbox]), select, textarea");

/** Listen to keys: `actions` are functions by name. */
export function listen(actions) {
  addEventListener("keydown", (event) => {
    if (event.repeat && event.key === "Enter") return event.preventDefault(); // a key that is held presses once
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const { key, target } = event;
    const arrow = { ArrowDown: "next", ArrowUp: "previous" }[key];
    if (key === "Escape") return actions.leave(target);
    if (typing(target)) {
      if (key !== "ArrowDown" || target.type !== "search") return;
    } else if (preferences.keys === "off" && !arrow) return;
    const letters = { "/": "search", j: "next", k: "previous", "+": "more", "=": "more", "-": "less", s: "set", x: "pick", u: "undo", "?": "help" };
    const name = arrow ?? letters[key];
    if (!name || (arrow && !target.closest?.("#table, #search") && target !== document.body)) return;
    event.preventDefault();
    actions[name]();
  });
}

/** Show what the keys do, and what can be chosen. */
export function help(dialog, open) {
  const choices = CHOICES.map(([name, label, values]) => h("fieldset", {}, h("legend", {}, label),
    ...values.map(([value, words]) => h("label", {},
      h("input", { type: "radio", name, value, checked: preferences[name] === value, onchange: () => prefer(name, value) }), words))));
  dialog.replaceChildren(
    h("h2", { id: "dialog-title" }, "Keys and appearance"),
    h("dl", { class: "keys" }, ...KEYS.flatMap(([keys, what]) => [
      h("dt", {}, ...keys.split("  ").map((each) => h("kbd", {}, each))), h("dd", {}, what)])),
    ...choices,
    h("div", { class: "line foot" }, button("Close", () => dialog.close(), { kind: "primary" })));
  open();
}
