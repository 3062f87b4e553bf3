// Saliency maps, several methods side by side. A map is asked for when it comes into view, and not before.

import { ask, drop } from "./api.js";
import { find, h } from "./dom.js";
import { overlaid, restrength } from "./figure.js";
import { state } from "./picture.js";

const FIRST = ["gradient", "guided-backprop", "grad-cam"];
let chosen = [];
let watch = null;
let of = { seen: null, target: "", figures: new Map() };

export function start() {
  find("strength").addEventListener("input", restrength);
  find("alone").addEventListener("change", (event) => document.body.classList.toggle("alone", event.target.checked));
}

export function show(model) {
  chosen = FIRST.filter((name) => model.methods.includes(name));
  find("method-list").replaceChildren(...model.methods.map((name) => {
    const box = h("input", { type: "checkbox", checked: chosen.includes(name), value: name });
    box.addEventListener("change", () => {
      chosen = box.checked ? [...chosen, name] : chosen.filter((each) => each !== name);
      refresh();
    });
    return h("label", {}, box, ` ${name}`);
  }));
  refresh();
}

// Figures of the same picture and class stay; others are dropped, and so are those of methods no longer chosen.
export function refresh() {
  if (of.seen !== state.seen || of.target !== state.target) {
    drop("maps");
    watch?.disconnect();
    of = { seen: state.seen, target: state.target, figures: new Map() };
    watch = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      watch.unobserve(entry.target);
      fill(entry.target);
    }));
  }
  if (!state.seen) {
    find("figures").replaceChildren(h("p", { class: "dim" }, "Maps appear here once there is a picture."));
    return;
  }
  for (const method of [...of.figures.keys()].filter((each) => !chosen.includes(each))) {
    drop(`maps/${method}`);
    of.figures.delete(method);
  }
  const added = chosen.filter((method) => !of.figures.has(method));
  for (const method of added) {
    const figure = h("figure", { "aria-busy": "true" }, h("div", { class: "stack waiting" }, `${method}…`));
    figure.dataset.method = method;
    of.figures.set(method, figure);
  }
  find("figures").replaceChildren(...chosen.map((method) => of.figures.get(method)));
  added.forEach((method) => watch.observe(of.figures.get(method)));
}

async function fill(figure) {
  const { method } = figure.dataset;
  const { seen, target, figures } = of;
  try {
    const map = await ask(`maps/${method}`, "saliency", { method, target });
    if (!map) return;
    const whole = overlaid(seen, map, method);
    figures.set(method, whole);
    figure.replaceWith(whole);
  } catch (error) {
    figure.removeAttribute("aria-busy");
    figure.replaceChildren(h("figcaption", {}, h("b", {}, method), h("span", { class: "wrong", role: "alert" }, error.message)));
  }
}
