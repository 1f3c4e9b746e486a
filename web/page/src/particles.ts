/** Small things that fly over the picture: hearts, gifts and confetti. Bounded, and forgotten. */

const PIECES_MAX = 140;
/** More hearts at once than can be told apart are not drawn. */
const HEARTS_AT_ONCE_MAX = 14;
const TOSSED_AT_ONCE_MAX = 8;
const RISE_MS = 2_600;
const RAIN_MS = 3_800;
/** On a picture less high than this things are smaller. */
const WHOLE_PX = 560;
const SCALE_MIN = 0.55;
const TAU = Math.PI * 2;
const COLORS = ["#ff5c7c", "#ffc66b", "#5ee6d0", "#8b8cff", "#ffffff", "#ff7be0"];

interface Piece {
  kind: "heart" | "image" | "paper";
  bornMs: number;
  lifeMs: number;
  /** Place at birth and drift over the life, in parts of the picture. */
  x: number;
  drift: number;
  size: number;
  turn: number;
  color: string;
  hue: number;
  image: CanvasImageSource | null;
}

export class Particles {
  #pieces: Piece[] = [];

  hearts(hearts: number, nowMs: number): void {
    for (let n = 0; n < Math.min(hearts, HEARTS_AT_ONCE_MAX); n += 1) {
      this.#add({
        ...rising(nowMs + n * 45), kind: "heart", size: 9 + Math.random() * 11, hue: 335 + Math.random() * 35,
      });
    }
  }

  toss(image: CanvasImageSource, pieces: number, nowMs: number): void {
    for (let n = 0; n < Math.min(pieces, TOSSED_AT_ONCE_MAX); n += 1) {
      this.#add({ ...rising(nowMs + n * 70), kind: "image", size: 26 + Math.random() * 14, image });
    }
  }

  confetti(pieces: number, nowMs: number): void {
    for (let n = 0; n < pieces; n += 1) {
      this.#add({
        kind: "paper",
        bornMs: nowMs + Math.random() * 900,
        lifeMs: RAIN_MS * (0.75 + Math.random() * 0.5),
        x: Math.random(),
        drift: (Math.random() - 0.5) * 0.3,
        size: 5 + Math.random() * 6,
        turn: (Math.random() - 0.5) * 14,
        color: COLORS[Math.floor(Math.random() * COLORS.length)] as string,
        hue: 0,
        image: null,
      });
    }
  }

  draw(context: CanvasRenderingContext2D, width: number, height: number, nowMs: number): void {
    this.#pieces = this.#pieces.filter((piece) => nowMs - piece.bornMs < piece.lifeMs);
    for (const piece of this.#pieces) {
      const age = (nowMs - piece.bornMs) / piece.lifeMs;
      if (age < 0) continue;
      if (piece.kind === "paper") drawPaper(context, piece, age, width, height);
      else drawRising(context, piece, age, width, height);
    }
    context.globalAlpha = 1;
  }

  #add(piece: Piece): void {
    if (this.#pieces.length >= PIECES_MAX) this.#pieces.shift();
    this.#pieces.push(piece);
  }
}

function rising(bornMs: number): Piece {
  return {
    kind: "heart",
    bornMs,
    lifeMs: RISE_MS,
    x: 0.9 + (Math.random() - 0.5) * 0.1,
    drift: (Math.random() - 0.5) * 0.12,
    size: 12,
    turn: (Math.random() - 0.5) * 0.8,
    color: "",
    hue: Math.random() * 360,
    image: null,
  };
}

function drawRising(context: CanvasRenderingContext2D, piece: Piece, age: number, width: number, height: number): void {
  const sway = Math.sin(age * 7 + piece.hue) * 0.015;
  const x = width * (piece.x + piece.drift * age + sway);
  const y = height * (0.86 - 0.66 * (1 - (1 - age) ** 1.7));
  const size = piece.size * Math.min(1, 0.3 + age * 6) * Math.min(1, Math.max(SCALE_MIN, height / WHOLE_PX));
  const alpha = age > 0.55 ? (1 - age) / 0.45 : 1;
  if (piece.image !== null) {
    context.globalAlpha = alpha;
    context.drawImage(piece.image, x - size / 2, y - size / 2, size, size);
    return;
  }
  context.globalAlpha = 1;
  context.fillStyle = `hsl(${piece.hue} 95% 66% / ${alpha})`;
  context.beginPath();
  context.moveTo(x, y + size * 0.45);
  context.bezierCurveTo(x - size, y - size * 0.2, x - size * 0.5, y - size * 0.8, x, y - size * 0.3);
  context.bezierCurveTo(x + size * 0.5, y - size * 0.8, x + size, y - size * 0.2, x, y + size * 0.45);
  context.fill();
}

function drawPaper(context: CanvasRenderingContext2D, piece: Piece, age: number, width: number, height: number): void {
  const x = width * (piece.x + piece.drift * age + 0.012 * Math.sin(age * 16 + piece.turn));
  const y = height * (-0.05 + 1.1 * age);
  // It tumbles: what is seen of it is wide, then narrow.
  const flat = Math.abs(Math.cos(age * TAU * 2 + piece.turn));
  context.globalAlpha = age > 0.8 ? (1 - age) / 0.2 : 1;
  context.fillStyle = piece.color;
  context.fillRect(x - piece.size / 2, y, piece.size, piece.size * (0.25 + 0.75 * flat));
}
