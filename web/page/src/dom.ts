/** Elements. Text goes in as text nodes and attributes as attributes: never as HTML. */

type Child = Node | string | null;
type Attributes = Record<string, string | number | boolean | null>;

/** An element with attributes (null and false leave one out) and children. */
export function el<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  setAttributes(element, attributes);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** An icon of one stroked or filled path in a 24 × 24 box; decorative. */
export function icon(path: string, kind: "stroke" | "fill" = "stroke"): SVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  setAttributes(svg, { viewBox: "0 0 24 24", class: `icon ${kind}`, "aria-hidden": "true" });
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

export const ICONS = {
  heart: "M12 20.500C6 16 2.500 12.800 2.500 8.700 2.500 5.900 4.700 4 7.200 4c1.900 0 3.600 1 4.800 2.800C13.200 5 14.900 4 16.800 4c2.500 0 4.700 1.900 4.700 4.700 0 4.100-3.500 7.300-9.500 11.800Z",
  eye: "M2.500 12S6 5.500 12 5.500 21.500 12 21.500 12 18 18.500 12 18.500 2.500 12 2.500 12Zm9.500 3a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
  send: "M4 12h13m-5.500-6 6 6-6 6",
  play: "M7 4.500v15l12.500-7.500Z",
  pause: "M7 5h3.500v14H7Zm6.500 0H17v14h-3.500Z",
  replay: "M4 12a8 8 0 1 0 2.500-5.800M4 4v4.500h4.500",
  shield: "M12 3.500 5 6v5.500c0 4.300 2.900 7.500 7 9 4.100-1.500 7-4.700 7-9V6Z",
  back: "M19 12H6m5.500-6-6 6 6 6",
} as const;

function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Keep the newest `max` children. */
export function trim(parent: Element, max: number): void {
  while (parent.childElementCount > max) parent.firstElementChild?.remove();
}
