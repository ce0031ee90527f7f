// Says in one sentence why the page cannot run, or starts it. A plain script: browsers refuse modules from disk.
"use strict";

function tell(sentence) {
  const message = document.getElementById("message");
  message.textContent = sentence;
  message.hidden = false;
}

// A function that returns an i8x16 vector: valid only where WebAssembly has SIMD
const SIMD = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253,
  15, 253, 98, 11]);

if (location.protocol === "file:") {
  tell("This page was opened from disk, where browsers forbid it to load its networks: run python3 -m http.server in the " +
    "folder of the page and open http://localhost:8000.");
} else if (typeof WebAssembly !== "object" || !WebAssembly.validate(SIMD)) {
  tell("This browser has no WebAssembly SIMD, which the networks need: open the page in a current Firefox, Chrome, Edge or " +
    "Safari.");
} else {
  import("./app.js").then((app) => app.start(tell)).catch((error) => tell(error.message));
}
