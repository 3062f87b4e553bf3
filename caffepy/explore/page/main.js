// The page: a model, a picture, and who has to know when either changes.

import { ask, begin } from "./api.js";
import { find, large, problem, say } from "./dom.js";
import * as graph from "./graph.js";
import * as layer from "./layer.js";
import * as maps from "./maps.js";
import * as picture from "./picture.js";

const MODEL = /\.(prototxt|pbtxt|caffemodel|h5|hdf5|txt)$/i;

graph.start(layer.open);
maps.start();
picture.start(() => {
  maps.refresh();
  layer.refresh();
});

async function show(model) {
  find("model-name").textContent = model.name;
  document.title = `${model.name}: caffepy explore`;
  const { totals } = model;
  const facts = [`${model.layers} layers`, `${large(totals.parameters)} parameters`, `${large(totals.macs)} multiplications`];
  find("model-facts").textContent = [...facts, ...(model.input ? [`input ${model.input}`] : [])].join(", ");
  layer.clear();
  picture.show(model);
  maps.show(model);
  await graph.show(model);
}

async function take(files) {
  const models = files.filter((file) => MODEL.test(file.name));
  if (models.length) await open(models);
  const image = files.find((file) => !MODEL.test(file.name));
  if (image) await picture.upload(image);
}

async function open(files) {
  problem("");
  try {
    for (const file of files) {
      say(`Loading ${file.name}…`);
      await ask("model", "files", { name: file.name }, { method: "PUT", body: file });
    }
    say("Building the net…");
    const found = await ask("model", "open", {}, { method: "POST" });
    if (!found) return;
    await show(found.model);
    say("");
    if (found.picture) await picture.classes();
  } catch (error) {
    say("");
    problem(error.message);
  }
}

find("open-model").addEventListener("click", () => find("model-files").click());
find("model-files").addEventListener("change", (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  if (files.length) open(files);
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  take([...event.dataTransfer.files]);
});

try {
  const model = await begin();
  await show(model);
  if (model.samples) await picture.sample(0);
} catch (error) {
  problem(error.message);
}
