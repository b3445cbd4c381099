// A Deployment's counts over the session, as steps: what was desired, and what was available.

const WIDTH = 320;
const HEIGHT = 88;
const NAMESPACE = "http://www.w3.org/2000/svg";

function part(name, attributes) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Draw samples of [time, desired, available] until now, into an <svg>. */
export function draw(svg, samples, now) {
  const most = Math.max(1, ...samples.map((each) => Math.max(each[1], each[2])));
  const from = samples[0][0];
  const x = (at) => ((at - from) / Math.max(1, now - from)) * WIDTH;
  const y = (value) => HEIGHT - 4 - (value / most) * (HEIGHT - 12);
  const steps = (field) => samples.map((each, index) =>
    `${index ? `H${x(each[0]).toFixed(1)}V` : `M0 `}${y(each[field]).toFixed(1)}`).join("") + `H${WIDTH}`;
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.replaceChildren(
    part("path", { d: `${steps(2)}V${HEIGHT}H0Z`, class: "area" }),
    part("path", { d: steps(1), class: "desired" }),
    part("path", { d: steps(2), class: "available" }),
  );
  return most;
}

export const empty = () => part("svg", { role: "img" });
