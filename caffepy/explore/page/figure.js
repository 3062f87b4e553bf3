// A picture with what can be done with it: saved as PNG, and as the Python lines that make it.

import { find, h, say } from "./dom.js";

export function acts(name, png, python) {
  return h("div", { class: "acts" },
    h("button", { type: "button", onclick: () => save(name, png) }, "Save PNG"),
    h("button", { type: "button", onclick: () => lines(python) }, "Python"));
}

async function save(name, png) {
  try {
    const address = await png();
    download(`${name}.png`, address);
    if (address.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(address), 60000);
  } catch (error) {
    say(error.message);
  }
}

export function download(name, address) {
  h("a", { href: address, download: name }).click();
  say(`${name} saved`);
}

function lines(python) {
  const code = h("pre", { tabindex: "0" }, python);
  const dialog = h("dialog", { "aria-label": "Python" }, h("p", {}, "These lines make the same picture:"), code,
    h("div", { class: "acts" },
      h("button", { type: "button", onclick: () => copy(python) }, "Copy"),
      h("button", { type: "button", onclick: () => dialog.close() }, "Close")));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    say("The browser does not let pages copy here: select the lines and copy them");
  }
}

// A map over the picture that it is of; the slider says how strongly it covers.
export function overlaid(seen, map, caption) {
  const over = h("img", { class: "over", src: map.over, alt: "" });
  over.style.opacity = strength();
  const under = h("img", { src: seen.png, alt: `${caption} over ${seen.name}` });
  const alone = h("img", { class: "alone", src: map.png, alt: `${caption} of ${seen.name}` });
  return h("figure", {}, h("div", { class: "stack" }, under, over, alone),
    h("figcaption", {}, h("b", {}, caption), `${map.target}, score ${+map.score.toPrecision(4)}`),
    acts(map.method, () => (find("alone").checked ? map.png : merged(under, over)), map.python));
}

export function strength() {
  return find("strength").value / 100;
}

export function restrength() {
  for (const over of document.querySelectorAll("figure .over")) over.style.opacity = strength();
}

function merged(under, over) {
  const canvas = h("canvas", { width: over.naturalWidth, height: over.naturalHeight });
  const pen = canvas.getContext("2d");
  pen.drawImage(under, 0, 0, canvas.width, canvas.height);
  pen.globalAlpha = strength();
  pen.drawImage(over, 0, 0);
  return canvas.toDataURL("image/png");
}
