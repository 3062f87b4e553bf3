// A layer: what it is, and as far as it is looked at its feature maps, filters, gradient, and what a unit responds to.

import { ask, drop, follow, picture } from "./api.js";
import { find, h, large, number, problem } from "./dom.js";
import { acts, overlaid } from "./figure.js";
import { fold, mark } from "./graph.js";
import { state } from "./picture.js";

const UNIT_METHODS = ["gradient", "guided-backprop"];
let now = null;

export function clear() {
  now = null;
  drop("layer");
  find("layer-title").textContent = "Layer";
  find("layer-body").replaceChildren(h("p", { class: "dim" },
    "Choose a layer in the net to see its feature maps, filters and gradient."));
}

export async function open(name) {
  drop("layer");
  try {
    const found = await ask("layer", "layer", { name });
    if (!found) return;
    now = found;
    mark(name);
    draw();
  } catch (error) {
    problem(error.message);
  }
}

// The same layer for another picture or class.
export function refresh() {
  if (now) draw();
}

function draw() {
  drop("layer");
  find("layer-title").textContent = now.name;
  const blob = now.tops[0]?.name;
  const parts = [facts()];
  if (now.block) parts.push(h("button", { type: "button", onclick: () => fold(now.block) }, `Fold ${now.block}`));
  if (blob && state.seen) {
    parts.push(part("Feature maps", true, (place) => sheet(place, "features", { blob }, blob)));
    parts.push(part("Gradient", false, (place) => sheet(place, "gradients", { blob, target: state.target }, blob)));
  }
  if (now.filters) parts.push(part("Filters", !state.seen, (place) => sheet(place, "filters", { layer: now.name }, null)));
  if (blob && !state.seen) parts.push(h("p", { class: "dim" }, "With a picture there are feature maps, too."));
  parts.push(h("div", { id: "unit" }));
  find("layer-body").replaceChildren(...parts);
}

function facts() {
  const rows = [["shape", now.tops.map((top) => `${top.name} ${top.shape.join(" × ")}`).join(", ")]];
  if (now.bottoms.length) rows.push(["from", now.bottoms.join(", ")]);
  for (const layer of now.layers) {
    const said = [layer.type];
    if (layer.parameters) said.push(`${large(layer.parameters)} parameters (${layer.weights.map((shape) => shape.join("×")).join(", ")})`);
    if (layer.macs) said.push(`${large(layer.macs)} multiplications`);
    if (layer.field) said.push(`field ${layer.field.map((size) => number(size)).join(" × ")} px`);
    rows.push([layer.name, said.join("; ")]);
  }
  const table = h("table", {}, ...rows.map(([name, text]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, text))));
  const text = h("details", {}, h("summary", {}, "prototxt"), h("pre", { tabindex: "0" }, now.layers.map((layer) => layer.prototxt).join("\n\n")));
  return h("div", {}, table, text);
}

// Asked for when it is unfolded, dropped when it is folded.
function part(title, opened, fill) {
  const place = h("div");
  const details = h("details", { open: opened }, h("summary", {}, title), place);
  let filled = false;
  const update = () => {
    if (details.open && !filled) fill(place);
    if (!details.open) drop(`layer/${title}`);
    filled = details.open;
  };
  details.addEventListener("toggle", update);
  if (opened) update();
  return details;
}

async function sheet(place, look, query, blob, first = 0) {
  const wait = h("p", { class: "dim" }, "…");
  place.append(wait);
  try {
    const found = await ask(`layer/${look}`, look, { ...query, first });
    wait.remove();
    if (!found) return;
    const list = found.cells.some((cell) => cell.png) ? cells(found, blob) : values(found, blob);
    place.append(list, acts(look, () => picture(`${look}.png`, { ...query, first }), found.python));
    const seen = first + found.cells.length;
    if (seen < found.total) {
      const more = h("button", { type: "button", onclick: () => { more.remove(); sheet(place, look, query, blob, seen); } }, `More (${found.total - seen})`);
      place.append(more);
    }
  } catch (error) {
    wait.replaceWith(h("p", { class: "wrong", role: "alert" }, error.message));
  }
}

function cells(found, blob) {
  return h("div", { class: "cells" }, ...found.cells.map((cell) => h("button", {
    type: "button", title: `${cell.channel}: ${number(cell.value)}`, disabled: blob === null,
    "aria-label": `Channel ${cell.channel}, ${number(cell.value)}`, onclick: () => unit(blob, cell.channel),
  }, h("img", { src: cell.png, alt: "" }), String(cell.channel))));
}

function values(found, blob) {
  const top = Math.max(...found.cells.map((cell) => Math.abs(cell.value)), 1e-12);
  return h("ol", { class: "values" }, ...found.cells.map((cell) => {
    const bar = h("i");
    bar.style.width = `${(100 * Math.abs(cell.value)) / top}%`;
    return h("li", {}, h("button", { type: "button", onclick: () => unit(blob, cell.channel) },
      h("span", {}, cell.label ?? String(cell.channel)), h("span", {}, number(cell.value)), h("span", { class: "track" }, bar)));
  }));
}

// ---- a unit

function unit(blob, channel) {
  drop("layer/unit");
  const figures = h("div", { class: "unit-figures" });
  const wish = h("div");
  find("unit").replaceChildren(
    h("h3", { tabindex: "-1" }, `${blob}, channel ${channel}: which pixels drive it`), figures,
    h("h3", {}, "What it would like to see"), wish);
  find("unit").querySelector("h3").focus();
  find("unit").scrollIntoView({ block: "nearest" });
  for (const method of UNIT_METHODS) driven(figures, method, blob, channel);
  offer(wish, blob, channel);
}

async function driven(place, method, blob, channel) {
  const figure = h("figure", {}, h("div", { class: "stack waiting" }, `${method}…`));
  place.append(figure);
  try {
    const map = await ask(`layer/unit/${method}`, "saliency", { method, blob, channel });
    if (map) figure.replaceWith(overlaid(state.seen, map, method));
  } catch (error) {
    figure.replaceChildren(h("p", { class: "wrong", role: "alert" }, error.message));
  }
}

function offer(place, blob, channel) {
  const go = h("button", { type: "button", onclick: () => synthesize(place, blob, channel) }, "Make a picture of it");
  place.replaceChildren(go);
}

async function synthesize(place, blob, channel) {
  const name = `layer/unit/synthesis`;
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Steps made" });
  const stop = h("button", { type: "button", onclick: () => { drop(name); offer(place, blob, channel); } }, "Stop");
  place.replaceChildren(bar, stop);
  stop.focus();
  try {
    await follow(name, "synthesis", { blob, channel }, (said) => {
      if (said.step) [bar.max, bar.value] = [said.of, said.step];
      else {
        place.replaceChildren(h("figure", {}, h("div", { class: "stack" }, h("img", { src: said.png, alt: said.what })),
          h("figcaption", {}, `${said.what}: ${number(said.score)}`), acts("synthesis", () => said.png, said.python)));
      }
    });
  } catch (error) {
    offer(place, blob, channel);
    place.append(h("p", { class: "wrong", role: "alert" }, error.message));
  }
}
