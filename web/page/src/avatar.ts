/** A person as a coloured initial: always the same for a name. */
import { el } from "./dom.js";
import { hue, initial } from "./format.js";

export function avatar(name: string): HTMLElement {
  const element = el("span", { class: "avatar", "aria-hidden": "true" }, initial(name));
  const color = hue(name);
  element.style.background = `linear-gradient(135deg, hsl(${color} 70% 52%), hsl(${(color + 50) % 360} 70% 38%))`;
  return element;
}
