/** What gifts look like: drawn for this page, by the name that the catalogue gives the animation. */
import { el } from "./dom.js";
import bouquet from "./gifts/bouquet.svg";
import coffee from "./gifts/coffee.svg";
import confetti from "./gifts/confetti.svg";
import galaxy from "./gifts/galaxy.svg";
import gift from "./gifts/gift.svg";
import balloon from "./gifts/hot-air-balloon.svg";
import lantern from "./gifts/lantern.svg";
import fox from "./gifts/neon-fox.svg";
import crane from "./gifts/paper-crane.svg";
import rose from "./gifts/rose.svg";
import spark from "./gifts/spark.svg";
import car from "./gifts/sports-car.svg";
import whale from "./gifts/whale.svg";

/** How a large or a middle animation moves; a stylesheet knows each by its name. */
export type Motion = "across" | "rise" | "drop" | "race" | "swim" | "throne";

interface Art {
  address: string;
  motion: Motion;
  /** The colour of its light, as a hue. */
  hue: number;
}

const ARTS = new Map<string, Art>([
  ["rose", { address: rose, motion: "drop", hue: 345 }],
  ["spark", { address: spark, motion: "rise", hue: 44 }],
  ["coffee", { address: coffee, motion: "rise", hue: 165 }],
  ["paper-crane", { address: crane, motion: "across", hue: 205 }],
  ["lantern", { address: lantern, motion: "rise", hue: 24 }],
  ["confetti", { address: confetti, motion: "drop", hue: 265 }],
  ["bouquet", { address: bouquet, motion: "drop", hue: 335 }],
  ["neon-fox", { address: fox, motion: "across", hue: 305 }],
  ["hot-air-balloon", { address: balloon, motion: "rise", hue: 14 }],
  ["sports-car", { address: car, motion: "race", hue: 295 }],
  ["whale", { address: whale, motion: "swim", hue: 195 }],
  ["galaxy", { address: galaxy, motion: "throne", hue: 262 }],
]);
/** A catalogue may name what this page has never heard of. */
const UNKNOWN: Art = { address: gift, motion: "across", hue: 255 };

export function artOf(animation: string | undefined): Art {
  return ARTS.get(animation ?? "") ?? UNKNOWN;
}

/** A picture of a gift; decorative: its name stands beside it. */
export function giftImage(animation: string | undefined, kind = "art"): HTMLImageElement {
  return el("img", { class: kind, src: artOf(animation).address, alt: "", draggable: "false", decoding: "async" });
}
