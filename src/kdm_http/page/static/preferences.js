// What this browser's user likes: colours, motion, keys. Kept in the browser alone.

const USUAL = { theme: "system", motion: "system", keys: "on" };
const KEY = "kdm-preferences";

export const CHOICES = [
  ["theme", "Colours", [["system", "as the system"], ["light", "light"], ["dark", "dark"]]],
  ["motion", "Motion", [["system", "as the system"], ["off", "none"]]],
  ["keys", "Keys of one letter", [["on", "on"], ["off", "off"]]],
];

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch {
    return {}; // a browser may refuse to keep anything
  }
}

export const preferences = { ...USUAL, ...kept() };

export function prefer(name, value) {
  preferences[name] = value;
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // It holds for as long as the page does.
  }
  apply();
}

export function apply() {
  document.documentElement.dataset.theme = preferences.theme;
  document.documentElement.dataset.motion = preferences.motion;
}
