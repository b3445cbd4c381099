// What the page says, in words: states, ages, owners, outcomes. Nothing here touches the page itself.

// Controls, directions, fillers, halves of pairs.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** Text from elsewhere, made harmless to read: what is invisible or turns the direction is written as its number. */
export function plain(text, most = 300) {
  const shown = String(text ?? "");
  const end = /[\ud800-\udbff]/.test(shown[most - 1]) ? most - 1 : most; // not through the middle of a pair
  const cut = shown.length > most ? `${shown.slice(0, end)}…` : shown;
  return cut.replace(UNSEEN, (each, at) => {
    if (/[\u200d\ufe0f]/.test(each) && joins(cut, at)) return each;
    return /\s/.test(each) ? " " : `\\u${each.codePointAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Whether what stands there joins or shapes an emoji, as U+200D and U+FE0F do. */
const joins = (text, at) => /\p{Extended_Pictographic}[\ufe0f\u{1f3fb}-\u{1f3ff}]?$/u.test(text.slice(Math.max(0, at - 4), at));

const number = new Intl.NumberFormat("en");
export const count = (value) => number.format(value);

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
/** A count where there is little room: 2.15B; the exact one is never further than the pointer. */
export const brief = (value) => (value < 100_000 ? number : compact).format(value);
export const many = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

let ahead = 0; // how far the server's clock is before this browser's, in milliseconds

/** Take the server's time of this moment, to the second. A browser's own clock may be wrong by hours. */
export function heed(date) {
  const server = Date.parse(date);
  if (Number.isNaN(server)) return;
  const by = server + 500 - Date.now();
  ahead = Math.abs(by) < 3000 ? 0 : by;
}

/** The time by the server's clock: ages of what it dates are told by it. */
export const serverNow = () => Date.now() + ahead;

export const ago = (at, now = serverNow()) => (now - at < 5000 ? "just now" : `${span((now - at) / 1000)} ago`);
export const clock = (at) => new Date(at).toLocaleTimeString("en-GB");
export const moment = (at) =>
  serverNow() - at < 43_200_000 ? clock(at) : `${new Date(at).toLocaleDateString("en-CA")} ${clock(at).slice(0, 5)}`;

/** What a row says of its state, and its mood: that is its colour and the shape of its mark. */
export function stateOf(record, now = Date.now()) {
  const { state, message } = record;
  const told = message ? `: ${plain(message, 200)}` : "";
  if (record.gone) return ["deleted", "idle"];
  if (state === "blocked") return [`blocked${told}`, "bad"];
  if (state === "stalled") return [`stalled${told}`, "bad"];
  if (record.parked && record.desired === 0) return ["parked", "idle"];
  if (state === "paused") return ["paused", "idle"];
  if (state === "settling" || state === "observing") return [`settling, ${span((now - record.since) / 1000)}`, "warn"];
  const paused = record.paused ? ", paused" : "";
  return record.desired === 0 ? [`at zero${paused}`, "idle"] : [`settled${paused}`, "ok"];
}

export function availableOf(record) {
  if (record.desired === 0 && record.parked) return `parked at ${brief(record.parked.replicas)}`;
  return `${brief(record.available)} of ${brief(record.desired)}`;
}

const SHORT = new Map([["HorizontalPodAutoscaler", "HPA"], ["ScaledObject", "KEDA"], ["Kustomization", "Flux"], ["Application", "Argo CD"]]);
export const kindOf = (owner) => SHORT.get(owner.kind) ?? plain(owner.kind, 40);
export const isAutoscaler = (owner) => owner.kind === "HorizontalPodAutoscaler" || owner.kind === "ScaledObject";

export function ownerOf(owner) {
  const bounds = owner.min !== null && owner.min !== undefined ? ` ${owner.min}–${owner.max ?? "∞"}` : "";
  return `${kindOf(owner)}${bounds}`;
}

const EFFECTS = {
  reverts: "changes it back",
  suspends: "stops scaling while it is at zero",
  "may-change": "may change it",
  "resets-on-apply": "resets it when it is next applied",
};

export function effectOf(owner) {
  const does = EFFECTS[owner.effect];
  return does ? `${ownerOf(owner)} ${does}` : ownerOf(owner);
}

export function changeOf(change, now = serverNow()) {
  if (!change) return "";
  const who = plain(change.actor || change.manager, 60);
  const why = change.reason ? ` · ${plain(change.reason, 120)}` : "";
  return [change.at ? ago(change.at, now) : "some time ago", who].filter(Boolean).join(" · ") + why;
}

export function boundsOf(bounds) {
  if (!bounds?.length) return "You may read this one, not scale it.";
  const parts = bounds.map(({ min, max, allowZero }) => `${allowZero && min > 1 ? "0 or " : ""}${count(allowZero && min === 1 ? 0 : min)} to ${count(max)}`);
  return `The policy allows ${parts.join(", or ")}.`;
}

/** Whether the policy lets the caller ask for a count. Unknown access allows: the server decides in any case. */
export function allows(access, wanted) {
  if (!access) return true;
  return access.bounds.some(({ min, max, allowZero }) => (wanted >= min && wanted <= max) || (wanted === 0 && allowZero));
}

/** What came of waiting for a rollout, in a few words, and its mood. */
export function outcomeOf(rollout, record) {
  const told = rollout.message ? `: ${plain(rollout.message, 200)}` : "";
  switch (rollout.outcome) {
    case "done": return [`done in ${span(rollout.elapsedSeconds)}`, "ok"];
    case "superseded": return [`superseded${by(record, rollout) || told}`, "warn"];
    case "deleted": return ["deleted meanwhile", "bad"];
    default: return [`${rollout.outcome}${told}`, rollout.outcome === "timeout" || rollout.outcome === "unknown" ? "warn" : "bad"];
  }
}

/** Who else changed a count, where the stream has shown it already. */
function by(record, rollout) {
  const change = rollout.supersededBy ?? record?.change;
  const who = change && (change.actor || change.manager);
  if (who && rollout.supersededBy) return ` by ${plain(who, 60)}${record ? `: ${count(record.desired)} now` : ""}`;
  return who && record.desired !== rollout.target?.replicas ? ` by ${plain(who, 60)}: ${count(record.desired)} now` : "";
}
