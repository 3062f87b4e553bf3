// The net as a graph: drawn from the places that the server tells, moved and zoomed here, walked by arrow keys.

import { ask } from "./api.js";
import { find, problem, svg } from "./dom.js";

let unfolded = [];
let view = [0, 0, 100, 100];
let whole = view;
let chosen = "";
let data = { nodes: [], edges: [] };
let blocks = [];
let open = () => {};

const LINE = 15;

export function start(onlayer) {
  open = onlayer;
  find("fold-all").addEventListener("click", () => refold([]));
  find("unfold-all").addEventListener("click", () => refold(blocks));
  find("zoom-in").addEventListener("click", () => zoom(0.75));
  find("zoom-out").addEventListener("click", () => zoom(1 / 0.75));
  find("zoom-fit").addEventListener("click", () => look(whole));
  const place = find("graph");
  place.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(event.deltaY * 0.0015), point(event));
  }, { passive: false });
  place.addEventListener("pointerdown", drag);
  place.addEventListener("keydown", walk);
}

export function show(model) {
  blocks = model.blocks;
  chosen = "";
  find("fold-all").hidden = find("unfold-all").hidden = !blocks.length;
  return refold([]);
}

export function unfold(block) {
  return refold([...unfolded, block]);
}

export function fold(block) {
  return refold(unfolded.filter((each) => each !== block));
}

export function mark(layer) {
  chosen = layer;
  for (const node of find("graph").querySelectorAll(".node")) {
    node.classList.toggle("chosen", !node.classList.contains("folded") && node.dataset.layer === layer);
  }
}

async function refold(now) {
  try {
    const found = await ask("graph", "graph", { unfolded: now });
    if (!found) return;
    [unfolded, data, whole] = [now, found, found.bounds];
    draw();
    look(reading());
  } catch (error) {
    problem(error.message);
  }
}

// From the top of the graph, as wide as it is, but neither so large nor so small that it reads badly.
function reading() {
  const box = find("graph").getBoundingClientRect();
  const [x, y, w] = whole;
  const width = Math.min(Math.max(w, box.width / 1.1), Math.max(box.width * 1.5, 320));
  const height = width * (box.height || 1) / (box.width || 1);
  return [x + w / 2 - width / 2, y, width, height];
}

function draw() {
  const root = svg("svg", { "aria-hidden": "false" });
  for (const edge of data.edges) root.append(svg("path", { d: edge.path }));
  for (const node of data.nodes) root.append(drawn(node));
  find("graph").replaceChildren(root);
  mark(chosen);
}

function drawn(node) {
  const { x, y, w, h, lines } = node;
  const rect = svg("rect", { x: x - w / 2, y: y - h / 2, width: w, height: h });
  const texts = lines.map((line, i) => {
    const at = y + (i - (lines.length - 1) / 2) * LINE + 4;
    const text = svg("text", { x, y: at, class: i ? "" : "name" });
    text.textContent = line;
    return text;
  });
  const word = node.folded ? "block, Enter unfolds it" : "layer";
  const group = svg("g", {
    class: `node ${node.folded ? "folded" : node.room}`, tabindex: "0", role: "button",
    "aria-label": `${lines.join(", ")}, ${word}`,
  }, rect, ...texts);
  group.dataset.key = node.key;
  group.dataset.layer = node.layer;
  group.addEventListener("click", () => act(node));
  group.addEventListener("focus", () => reveal(node));
  return group;
}

function act(node) {
  if (moved) return;
  if (node.folded) unfold(node.block);
  else open(node.layer);
}

function walk(event) {
  const here = event.target.closest?.(".node");
  if (!here) return;
  const node = data.nodes.find((each) => each.key === here.dataset.key);
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    moved = false;
    act(node);
    return;
  }
  const next = neighbour(node, event.key);
  if (!next) return;
  event.preventDefault();
  find("graph").querySelector(`[data-key="${CSS.escape(next.key)}"]`)?.focus();
}

function neighbour(node, key) {
  const at = (name) => data.nodes.find((each) => each.key === name);
  if (key === "ArrowDown") return at(data.edges.find((edge) => edge.source === node.key)?.target);
  if (key === "ArrowUp") return at(data.edges.find((edge) => edge.target === node.key)?.source);
  if (key !== "ArrowLeft" && key !== "ArrowRight") return null;
  const side = key === "ArrowLeft" ? -1 : 1;
  return data.nodes
    .filter((each) => Math.abs(each.y - node.y) < 2 && (each.x - node.x) * side > 0)
    .sort((a, b) => (a.x - b.x) * side)[0];
}

// ---- moving and zooming

let moved = false;

function look(box) {
  view = [...box];
  find("graph").firstElementChild?.setAttribute("viewBox", view.join(" "));
}

function scale() {
  const box = find("graph").getBoundingClientRect();
  return Math.max(view[2] / box.width, view[3] / box.height);
}

function point(event) {
  const box = find("graph").getBoundingClientRect();
  const s = scale();
  return [
    view[0] + view[2] / 2 + (event.clientX - box.left - box.width / 2) * s,
    view[1] + view[3] / 2 + (event.clientY - box.top - box.height / 2) * s,
  ];
}

function zoom(by, at = [view[0] + view[2] / 2, view[1] + view[3] / 2]) {
  const factor = Math.min(Math.max(by, 40 / view[2]), (8 * Math.max(whole[2], whole[3])) / view[2]);
  const [x, y] = at;
  look([x - (x - view[0]) * factor, y - (y - view[1]) * factor, view[2] * factor, view[3] * factor]);
}

function drag(event) {
  const from = [event.clientX, event.clientY];
  const was = [...view];
  const s = scale();
  moved = false;
  const move = (now) => {
    const [dx, dy] = [now.clientX - from[0], now.clientY - from[1]];
    if (Math.abs(dx) + Math.abs(dy) > 4) moved = true;
    if (moved) look([was[0] - dx * s, was[1] - dy * s, was[2], was[3]]);
  };
  const end = () => {
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", end);
    removeEventListener("pointercancel", end);
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", end);
  addEventListener("pointercancel", end);
}

function reveal(node) {
  const inside = node.x > view[0] && node.x < view[0] + view[2] && node.y > view[1] && node.y < view[1] + view[3];
  if (!inside) look([node.x - view[2] / 2, node.y - view[3] / 2, view[2], view[3]]);
}
