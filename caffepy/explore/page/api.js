// Requests. Each belongs to a place of the page; a new one for the same place, or `drop`, ends the one before, and the
// server then does not begin what nobody looks at any more.

const waiting = new Map();
let key = "";

export class Refused extends Error {}

export async function begin() {
  const token = new URLSearchParams(location.search).get("token");
  const query = token ? `?token=${encodeURIComponent(token)}` : "";
  const answer = await read(await fetch(`/api/sessions${query}`, { method: "POST" }));
  key = answer.session;
  return answer.model;
}

export function drop(place) {
  for (const [name, controller] of waiting) {
    if (name === place || name.startsWith(`${place}/`)) {
      controller.abort();
      waiting.delete(name);
    }
  }
}

// The answer, or null where another request for the place has come meanwhile.
export async function ask(place, path, query = {}, options = {}) {
  drop(place);
  const controller = new AbortController();
  waiting.set(place, controller);
  try {
    const response = await fetch(address(path, query), { signal: controller.signal, ...options });
    return await read(response);
  } catch (error) {
    if (error.name === "AbortError") return null;
    if (error instanceof TypeError) throw new Refused("The server does not answer; is caffepy explore still running?");
    throw error;
  } finally {
    if (waiting.get(place) === controller) waiting.delete(place);
  }
}

// A picture that is only made where somebody wants it, as an address for this page.
export async function picture(path, query) {
  const response = await fetch(address(path, query));
  if (!response.ok) await read(response);
  return URL.createObjectURL(await response.blob());
}

// Lines of JSON as they come, each handed to `each`.
export async function follow(place, path, query, each) {
  drop(place);
  const controller = new AbortController();
  waiting.set(place, controller);
  try {
    const response = await fetch(address(path, query), { signal: controller.signal });
    if (!response.ok) await read(response);
    let text = "";
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const lines = text.split("\n");
      text = lines.pop();
      for (const line of lines) {
        const said = JSON.parse(line);
        if (said.error) throw new Refused(said.error);
        each(said);
      }
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  } finally {
    if (waiting.get(place) === controller) waiting.delete(place);
  }
}

function address(path, query) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== null && one !== undefined) words.append(name, one);
  }
  return `/api/${key}/${path}?${words}`;
}

async function read(response) {
  let answer = null;
  try {
    answer = await response.json();
  } catch {
    answer = { error: response.ok ? "The server's answer cannot be read." : `The server failed (${response.status}); its terminal says why.` };
  }
  if (!response.ok || answer.error) throw new Refused(answer.error || `The server refused (${response.status}).`);
  return answer;
}
