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
  cross: "M6 6l12 12M18 6 6 18",
  crown: "M3.500 8.500 8 12l4-6.500 4 6.500 4.500-3.500L18.800 18H5.200Z",
  gift: "M4 11.500h16M5.500 11.500V20h13v-8.500M4 8h16v3.500H4Zm8 0v12M12 8C9 8 7.500 6.800 7.500 5.300 7.500 3 11 3.500 12 8Zm0 0c3 0 4.500-1.200 4.500-2.700C16.500 3 13 3.500 12 8Z",
  swords: "M4 4l9 9M4 4v3.500L14.500 18M4 4h3.500L18 14.500M13 17.500l4.500-4.500M16.500 16.500 20 20M20 4l-5.500 5.500M20 4v3.500L16 11.500M20 4h-3.500L12.500 8M7 13l4 4M7.500 16.500 4 20",
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
