// The networks, in a thread of their own: {features, noise, maskRatio} -> pixels and identity features.
import * as ort from "./ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1; // more threads need headers that a plain web server does not send
ort.env.wasm.wasmPaths = { wasm: new URL("./ort-wasm-simd-threaded.wasm", import.meta.url).href };

const MAKE_AGAIN = "run make demo again";
let generator, identity, tokens, side;

async function open(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} could not be loaded (status ${answer.status}): ${MAKE_AGAIN}.`);
  try {
    return await ort.InferenceSession.create(new Uint8Array(await answer.arrayBuffer()), { graphOptimizationLevel: "all" });
  } catch (error) {
    throw new Error(`${name} is not a network that this page can run (${String(error.message).slice(0, 120)}): ${MAKE_AGAIN}.`);
  }
}

/** The shape of an input or output without its batch axis. */
function shape(name, values, tensor) {
  const found = values.find((value) => value.name === tensor);
  if (!found) throw new Error(`${name} has no ${tensor}: ${MAKE_AGAIN}.`);
  return found.shape.slice(1);
}

function check(what, given, wanted) {
  if (String(given) !== String(wanted)) throw new Error(`${what} ${given.join(" x ")}, not ${wanted.join(" x ")}: ${MAKE_AGAIN}.`);
}

async function start(width) {
  generator = await open("generator.onnx");
  check("generator.onnx takes vectors of", shape("generator.onnx", generator.inputMetadata, "features"), [width]);
  [tokens] = shape("generator.onnx", generator.inputMetadata, "noise");
  shape("generator.onnx", generator.inputMetadata, "mask_ratio");
  const image = shape("generator.onnx", generator.outputMetadata, "images");
  side = image[2];
  check("generator.onnx draws images of", image, [3, side, side]);
  postMessage({ kind: "ready", tokens, side });
  identity = await open("identity.onnx");
  check("identity.onnx takes faces of", shape("identity.onnx", identity.inputMetadata, "faces"), image);
}

async function draw({ features, noise, maskRatio }) {
  const { images } = await generator.run({
    features: new ort.Tensor("float32", features, [1, features.length]),
    noise: new ort.Tensor("float32", noise, [1, tokens]),
    mask_ratio: new ort.Tensor("float64", Float64Array.of(maskRatio), [1]),
  });
  const area = side * side;
  const pixels = new Uint8ClampedArray(4 * area).fill(255); // rounds and clamps what is assigned
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < area; i++) pixels[4 * i + channel] = images.data[channel * area + i] * 127.5 + 127.5;
  }
  return pixels;
}

async function embed(pixels) {
  const area = side * side;
  const faces = new Float32Array(3 * area);
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < area; i++) faces[channel * area + i] = pixels[4 * i + channel] / 127.5 - 1;
  }
  const { features } = await identity.run({ faces: new ort.Tensor("float32", faces, [1, 3, side, side]) });
  return Float32Array.from(features.data);
}

let isOpen;

onmessage = async ({ data }) => {
  try {
    if (data.kind === "start") return void (await (isOpen = start(data.width)));
    const pixels = await draw(data);
    postMessage({ kind: "pixels", pixels });
    await isOpen; // the first picture is shown before the identity network is there
    postMessage({ kind: "features", features: await embed(pixels) });
  } catch (error) {
    postMessage({ kind: "error", sentence: error.message });
  }
};
