// Vectors of people and of their images: the distributions of demo.json, as generate/draw/perturbation.py has them.

/** float32 numbers in base64, little-endian, as Python's vector_text writes them. */
export function decode(text) {
  return new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

export function encode(vector) {
  return btoa(String.fromCharCode(...new Uint8Array(Float32Array.from(vector).buffer)));
}

/** Random numbers in [0, 1) from a seed (mulberry32). */
export function uniforms(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Standard normal numbers (Box and Muller). */
export function normals(random, count) {
  return Float32Array.from({ length: count }, () =>
    Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()));
}

export const norm = (vector) => Math.hypot(...vector);
export const add = (vector, other, factor = 1) => vector.map((value, i) => value + factor * other[i]);
export const dot = (first, second) => first.reduce((sum, value, i) => sum + value * second[i], 0);
export const cosine = (first, second) => dot(first, second) / (norm(first) * norm(second));
const scaled = (vector, length) => vector.map((value) => (value * length) / norm(vector));

/** The row vector times a matrix in row order; without a matrix, the vector itself. */
function times(vector, matrix) {
  if (!matrix) return vector;
  const product = new Float32Array(matrix.length / vector.length);
  vector.forEach((value, row) => {
    for (let column = 0; column < product.length; column++) product[column] += value * matrix[row * product.length + column];
  });
  return product;
}

/** The distributions and sliders of a demo.json. */
export class People {
  constructor(description) {
    const matrix = (text) => (text ? decode(text) : null);
    this.mean = decode(description.people.mean);
    this.spread = matrix(description.people.spread);
    this.noise = { ...description.noise, matrix: matrix(description.noise.matrix) };
    this.neutral = matrix(description.neutral); // the circumstances of a portrait; null if the generator takes none
    this.maskRatio = description.mask_ratio;
    this.yaw = description.yaw && { ...description.yaw, vector: matrix(description.yaw.vector) };
    this.directions = description.directions.map((entry) => ({ ...entry, vector: decode(entry.vector) }));
  }

  get width() {
    return this.mean.length;
  }

  /** A new person. */
  person(random) {
    return add(this.mean, times(normals(random, this.width), this.spread));
  }

  /** Two persons interpolated by a share, vector and length alike; then moved along the directions. */
  mixed(person, other, share, amounts) {
    const between = person.map((value, i) => value + share * (other[i] - value));
    const length = (1 - share) * norm(person) + share * norm(other);
    return this.directions.reduce((sum, { vector }, i) => add(sum, vector, amounts[i]), scaled(between, length));
  }

  /** The vector of a clear image of a person from the front. */
  portrait(person) {
    if (!this.neutral) return person;
    const first = this.width - this.neutral.length;
    return person.map((value, i) => (i < first ? value : value + this.neutral[i - first]));
  }

  /** What an image has of its own: the noise of its vector, and which tokens are masked. */
  variation(random, numTokens) {
    const { kind, matrix } = this.noise;
    const row = () => Math.floor(random() * (matrix.length / this.width)) * this.width;
    const from = kind === "directions" ? 0 : row();
    const noise = kind === "directions"
      ? times(normals(random, this.width), matrix)
      : matrix.slice(from, from + this.width);
    return { noise, tokens: Float32Array.from({ length: numTokens }, random), maskRatio: this.drawMaskRatio(random) };
  }

  drawMaskRatio(random) {
    const { low, high, mean, std } = this.maskRatio;
    for (;;) {
      const ratio = mean + std * normals(random, 1)[0];
      if (ratio >= low && ratio <= high) return ratio;
    }
  }

  /** The vector of an image: the person, noise of strength sigma (at the person's length), a head that is turned. */
  image(person, noise, sigma, degrees) {
    if (this.neutral) return this.turned(this.inCircumstances(person, noise, sigma), degrees);
    const moved = add(person, noise, sigma);
    const vector = this.noise.kind === "differences" ? moved : scaled(moved, norm(person));
    return degrees && this.yaw ? add(vector, this.yaw.vector, this.yawAmount(degrees)) : vector;
  }

  /** The person with noise of strength sigma on the identity features, in the circumstances of the noise, unscaled. */
  inCircumstances(person, noise, sigma) {
    const first = this.width - this.neutral.length;
    return person.map((value, i) => value + (i < first ? sigma : 1) * noise[i]);
  }

  /** The vector with its yaw turned further, as generate/networks/circumstances.py writes a yaw. */
  turned(vector, degrees) {
    if (!degrees) return vector;
    const first = this.width - this.neutral.length + this.yaw.first;
    const [mean, deviation] = this.yaw.scales[0];
    const yaw = Math.min(90, Math.max(-90, vector[first] * deviation + mean + degrees));
    const angle = (yaw * Math.PI) / 180;
    const values = [yaw, Math.sin(angle), Math.cos(angle), Math.sin(2 * angle), Math.cos(2 * angle)];
    const changed = vector.slice();
    this.yaw.scales.forEach(([center, scale], i) => { changed[first + i] = (values[i] - center) / scale; });
    return changed;
  }

  /** How far to move for a turn, between the measured points of the curve. */
  yawAmount(degrees) {
    const { amounts, degrees: known } = this.yaw;
    const next = Math.min(Math.max(1, known.findIndex((value) => value >= degrees)), known.length - 1);
    const share = (degrees - known[next - 1]) / (known[next] - known[next - 1]);
    return amounts[next - 1] + share * (amounts[next] - amounts[next - 1]);
  }
}
