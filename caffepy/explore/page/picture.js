// The picture: by file, drop, sample or camera; and the classes that the net sees in it.

import { ask } from "./api.js";
import { find, h, number, problem, say } from "./dom.js";

export const state = { seen: null, target: "top" };
let changed = () => {};
let labels = [];

export function start(onchange) {
  changed = onchange;
  const input = find("picture-file");
  find("choose-picture").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files[0]) upload(input.files[0]);
    input.value = "";
  });
  find("camera").addEventListener("click", camera);
}

export function show(model) {
  labels = model.labels;
  state.seen = null;
  state.target = "top";
  find("samples").replaceChildren(...Array.from({ length: model.samples }, (_, i) =>
    h("button", { type: "button", "aria-label": `Sample ${i + 1}`, onclick: () => sample(i) }, `${i + 1}`)));
  const why = model.why_no_pictures;
  for (const id of ["choose-picture", "camera"]) find(id).disabled = Boolean(why);
  find("seen").replaceChildren(h("p", { class: why ? "wrong" : "dim" },
    why || "Drop a picture anywhere on the page, choose a file, or take one with the camera."));
}

export async function upload(file) {
  await take("picture", { name: file.name }, { method: "PUT", body: file });
}

export async function sample(index) {
  await take("sample", { index }, { method: "POST" });
}

async function take(path, query, options) {
  problem("");
  say("Loading the picture…");
  try {
    if (!(await ask("picture", path, query, options))) return;
    state.target = "top";
    await classes();
  } catch (error) {
    say("");
    problem(error.message);
  }
}

// What the net sees in the picture that the session has.
export async function classes() {
  const seen = await ask("classes", "classes");
  if (!seen) return;
  state.seen = seen;
  if (state.target === "top" && seen.classes.length) state.target = String(seen.classes[0].index);
  say(seen.classes.length ? `${seen.name}: ${naming(seen.classes[0])}` : seen.name);
  draw();
  changed();
}

function draw() {
  const { seen } = state;
  const image = h("img", { src: seen.png, alt: `${seen.name}, as the net sees it` });
  const list = h("ol", { class: "classes", "aria-label": "Best classes" }, ...seen.classes.map(entry));
  const other = h("input", { type: "text", list: "labels", placeholder: "another class", "aria-label": "Another class, by name or number" });
  other.addEventListener("change", () => other.value && aim(other.value));
  const choices = h("datalist", { id: "labels" }, ...labels.map((label) => h("option", { value: label })));
  const said = seen.why_no_classes ? h("p", { class: "wrong" }, seen.why_no_classes) : null;
  find("seen").replaceChildren(image, h("div", { class: "classes" }, said || list, other, choices));
}

function entry(one) {
  const bar = h("i");
  bar.style.width = `${Math.min(100, Math.max(0, 100 * one.value))}%`;
  return h("li", {}, h("button", {
    type: "button", "aria-pressed": String(String(one.index) === state.target), onclick: () => aim(String(one.index)),
  }, h("span", { class: "label" }, naming(one)), h("span", {}, number(one.value)), h("span", { class: "track" }, bar)));
}

function naming(one) {
  return one.label ?? `class ${one.index}`;
}

function aim(target) {
  problem("");
  state.target = target;
  draw();
  changed();
}

async function camera() {
  problem("");
  let stream = null;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch (error) {
    problem(`The camera cannot be used: ${error.message || error}. Choose a file instead.`);
    return;
  }
  const video = h("video", { autoplay: true, muted: true, "aria-label": "Camera" });
  video.srcObject = stream;
  const stop = () => stream.getTracks().forEach((track) => track.stop());
  const shoot = h("button", { type: "button", disabled: true, onclick: () => {
    const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    stop();
    canvas.toBlob((blob) => upload(new File([blob], "camera.png")), "image/png");
  } }, "Take the picture");
  video.addEventListener("loadeddata", () => { shoot.disabled = false; shoot.focus(); });
  const cancel = h("button", { type: "button", onclick: () => { stop(); if (state.seen) draw(); else video.remove(); } }, "Cancel");
  find("seen").replaceChildren(video, h("div", { class: "acts" }, shoot, cancel));
}
