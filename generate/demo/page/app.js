// The page: sliders and buttons -> vectors -> images, one at a time, by the worker; cosines and what can be copied.
import { People, add, cosine, encode, uniforms } from "./people.js";

const ROW = ["1", "2", "3", "4", "5", "6", "7", "8"];
const IMAGES_IN_BULK = 50;
const find = (selector) => document.querySelector(selector);
const canvasOf = (slot) => find(`[data-slot="${slot}"] canvas`);

let people, painter, description, random, tokens, side;
const persons = {}; // A and B: {vector, tokens}
const variations = {}; // of each image of the row
const features = {}; // slot -> identity features of the image that it shows
let chosen = ["A", "1"];
const times = { first: null, row: null };

/** Sends one job at a time to the worker; of several jobs for one slot, only the newest is drawn. */
class Painter {
  waiting = new Map();
  current = null;

  constructor(worker, onPart) {
    this.worker = worker;
    worker.addEventListener("message", ({ data }) => {
      if (this.current) onPart(this.current, data);
      if (data.kind === "features") this.finish();
    });
  }

  draw(slot, job) {
    this.waiting.set(slot, job);
    if (this.current === null) this.next();
  }

  finish() {
    this.current = null;
    this.next();
  }

  next() {
    const [slot] = this.waiting.keys();
    if (slot === undefined) return;
    const job = this.waiting.get(slot);
    this.waiting.delete(slot);
    this.current = slot;
    this.worker.postMessage({ kind: "draw", ...job });
  }
}

export async function start(tell) {
  const answer = await fetch("demo.json");
  if (!answer.ok) throw new Error(`demo.json could not be loaded (status ${answer.status}): run make demo again.`);
  description = await answer.json();
  people = new People(description);
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const isReady = new Promise((resolve, reject) => {
    worker.addEventListener("error", () => reject(new Error("The networks could not be started: run make demo again.")));
    worker.addEventListener("message", ({ data }) => {
      if (data.kind === "ready") resolve(data);
      if (data.kind === "error") {
        tell(data.sentence);
        find("main").hidden = true;
        reject(new Error(data.sentence));
      }
    });
  });
  worker.postMessage({ kind: "start", width: people.width });
  buildPage();
  ({ tokens, side } = await isReady);
  for (const canvas of document.querySelectorAll("canvas")) canvas.width = canvas.height = side;
  find("main").hidden = false;
  painter = new Painter(worker, show);
  const seed = new URLSearchParams(location.search).get("seed");
  random = uniforms(seed === null ? crypto.getRandomValues(new Uint32Array(1))[0] : Number(seed));
  for (const slot of ROW) variations[slot] = people.variation(random, tokens);
  newPerson("A");
  newPerson("B");
}

function buildPage() {
  for (const slot of ROW) {
    const figure = document.createElement("figure");
    figure.innerHTML = `<button class="face" data-slot="${slot}" aria-label="Image ${slot}"><canvas></canvas></button>
      <figcaption data-cosine="${slot}">…</figcaption>`;
    find("#row").append(figure);
  }
  const { yaw, noise, directions } = description;
  if (yaw) addSlider("yaw", "Turn of the head", "left", "right", Math.ceil(yaw.degrees[0]), Math.floor(yaw.degrees.at(-1)), 1, 0);
  addSlider("noise", "Noise", "none", "strong", 0, 2 * noise.sigma, noise.sigma / 20, noise.sigma);
  directions.forEach(({ name, low, high }, i) => addSlider(`direction${i}`, name, low, high, -3, 3, 0.1, 0));
  find("#mix").addEventListener("input", drawRow);
  find("#reset").addEventListener("click", reset);
  find("#images").addEventListener("click", () => {
    for (const slot of ROW) variations[slot] = people.variation(random, tokens);
    drawRow();
  });
  for (const button of document.querySelectorAll("[data-new]")) button.addEventListener("click", () => newPerson(button.dataset.new));
  for (const button of document.querySelectorAll("[data-slot]")) {
    button.addEventListener("click", () => {
      if (button.dataset.slot !== chosen[1]) chosen = [chosen[1], button.dataset.slot];
      showPair();
    });
  }
  copyOnClick("#copy-vector", () => JSON.stringify(Array.from(currentPerson())));
  copyOnClick("#copy-command", command);
  describe();
}

function addSlider(id, name, low, high, min, max, step, value) {
  const line = document.createElement("div");
  line.className = "slider";
  line.innerHTML = `<label for="${id}"></label><output></output><input id="${id}" type="range"><span></span><span></span>`;
  line.querySelector("label").textContent = name;
  const ends = line.querySelectorAll("span");
  ends[0].textContent = low;
  ends[1].textContent = high;
  const input = line.querySelector("input");
  Object.assign(input, { min, max, step });
  input.defaultValue = value;
  input.value = value;
  input.addEventListener("input", drawRow);
  find("#sliders").append(line);
}

const valueOf = (id) => Number(find(`#${id}`)?.value ?? 0);

function reset() {
  for (const input of document.querySelectorAll("input[type=range]")) input.value = input.defaultValue;
  drawRow();
}

/** The vector of the person that the sliders describe. */
function currentPerson() {
  const amounts = people.directions.map((_, i) => valueOf(`direction${i}`));
  return people.mixed(persons.A.vector, persons.B.vector, valueOf("mix") / 100, amounts);
}

function newPerson(slot) {
  const vector = people.person(random);
  persons[slot] = { vector, tokens: Float32Array.from({ length: tokens }, random) };
  painter.draw(slot, { features: people.portrait(vector), noise: persons[slot].tokens, maskRatio: people.maskRatio.low });
  if (persons.A && persons.B) drawRow();
}

function drawRow() {
  for (const slider of document.querySelectorAll(".slider")) showValue(slider);
  find(".mix output").textContent = `${valueOf("mix")} % B`;
  const person = currentPerson();
  times.asked = performance.now();
  for (const slot of ROW) {
    const { noise, tokens: own, maskRatio } = variations[slot];
    const vector = people.image(person, noise, valueOf("noise"), valueOf("yaw"));
    painter.draw(slot, { features: vector, noise: own, maskRatio });
  }
  find("#command").textContent = command();
}

function showValue(slider) {
  const input = slider.querySelector("input");
  const value = Number(input.value);
  const sign = value > 0 && Number(input.min) < 0 ? "+" : "";
  slider.querySelector("output").textContent = input.id === "yaw" ? `${sign}${value}°` : `${sign}${value.toFixed(input.id === "noise" ? 2 : 1)}`;
}

/** Shows what the worker sends of a slot: pixels, then identity features. */
function show(slot, part) {
  if (typeof slot === "function") return slot(part);
  if (part.kind === "pixels") {
    canvasOf(slot).getContext("2d").putImageData(new ImageData(part.pixels, side, side), 0, 0);
    times.first ??= performance.now();
  } else if (part.kind === "features") {
    features[slot] = part.features;
    if (slot === ROW.at(-1)) times.row = performance.now() - times.asked;
    showCosines();
  }
}

function showCosines() {
  for (const slot of ROW) {
    const known = features.A && features[slot];
    find(`[data-cosine="${slot}"]`).textContent = known ? cosine(features.A, features[slot]).toFixed(2) : "…";
  }
  showPair();
  describe();
}

const nameOf = (slot) => (ROW.includes(slot) ? `image ${slot}` : `person ${slot}`);

function showPair() {
  for (const button of document.querySelectorAll("[data-slot]")) button.classList.toggle("chosen", chosen.includes(button.dataset.slot));
  chosen.forEach((slot, i) => find(["#first", "#second"][i]).getContext("2d").drawImage(canvasOf(slot), 0, 0));
  find("#names").textContent = `${nameOf(chosen[0])} and ${nameOf(chosen[1])}`;
  if (!chosen.every((slot) => features[slot])) return;
  const { same, different, rare } = description.cosines;
  const value = cosine(...chosen.map((slot) => features[slot]));
  find("#cosine").textContent = value.toFixed(3);
  const mark = (at, name, text) => `<i class="${name}" style="left:${Math.max(0, Math.min(100, 50 + 50 * at))}%">${text}</i>`;
  find("#scale").innerHTML = mark(different, "known", "") + mark(same, "known", "") + mark(value, "value", "");
  find("#verdict").textContent = `Identity cosine, from -1 to 1. Two images of one person have ${same.toFixed(2)} on average, two ` +
    `people ${different.toFixed(2)}; one pair of people in a hundred exceeds ${rare.toFixed(2)}.`;
}

function command() {
  const yaw = valueOf("yaw") ? ` --yaw ${valueOf("yaw")}` : "";
  return `${description.inputs.command} --vector ${encode(currentPerson())} --noise ${valueOf("noise")} ` +
    `--images ${IMAGES_IN_BULK}${yaw} --out person`;
}

function copyOnClick(selector, text) {
  const button = find(selector);
  const label = button.textContent;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "This browser forbids copying";
    }
    setTimeout(() => (button.textContent = label), 1500);
  });
}

function describe() {
  const { name, about, num_parameters, trained_on, runtime } = description;
  const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;
  const speed = times.row ? ` On this machine: first picture after ${seconds(times.first)}, eight images in ${seconds(times.row)}.` : "";
  find("#about").textContent = `Benchmark ${name}: ${about}. Generator of ${(num_parameters / 1e6).toFixed(1)} million parameters` +
    `${trained_on ? `, trained on ${trained_on}` : ""}. onnxruntime-web ${runtime} (MIT).${speed}`;
}

/** For the console and for tests: pixels (RGBA) and identity features of any vector, and what the page would copy. */
window.demo = {
  times,
  command,
  person: () => Array.from(currentPerson()),
  draw: (vector, noise, maskRatio) => new Promise((resolve) => {
    const result = {};
    const take = (part) => {
      result[part.kind] = Array.from(part[part.kind]);
      if (part.kind === "features") resolve(result);
    };
    painter.draw(take, { features: Float32Array.from(vector), noise: Float32Array.from(noise), maskRatio });
  }),
};
