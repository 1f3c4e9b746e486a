/** The mark of the product: a pulse on a rounded square. */
const SVG = "http://www.w3.org/2000/svg";

export function mark(): SVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 32 32");
  svg.setAttribute("class", "mark");
  svg.setAttribute("aria-hidden", "true");
  const pulse = document.createElementNS(SVG, "path");
  pulse.setAttribute("d", "M5 17h5l2.500-7 4.500 13 3-9 1.500 3H27");
  svg.append(pulse);
  return svg;
}
