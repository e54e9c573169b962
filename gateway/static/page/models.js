// The models of the catalogue: one is chosen, its input filled in by a form from its schema, its answer shown.

import { $, announce, copy, make, readable, tell } from "./dom.js";
import { Failure, json, patiently, request } from "./request.js";
import { BadField, SchemaForm } from "./schema_form.js";
import { explain } from "./stage.js";

const pathOf = ({ name, version }) => `models/${encodeURIComponent(name)}/${encodeURIComponent(version)}`;

export class Models {
  #listed = new Map(); // by the path
  #running = null;
  #answer = null;

  constructor() {
    $("model").addEventListener("change", () => this.#choose());
    $("input").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#predict();
    });
    $("prediction-copy").addEventListener("click", async () => {
      announce(await copy(JSON.stringify(this.#answer), $("prediction-json")));
    });
  }

  /** List the models anew, since they may have changed. */
  async open() {
    await this.#attempt(async (signal) => {
      const { models } = await json(await this.#patiently("GET", "models", { signal }));
      const chosen = $("model").value;
      this.#listed = new Map(models.map((model) => [pathOf(model), model]));
      $("model").replaceChildren(...models.map((model) => make("option", { value: pathOf(model) }, titleOf(model))));
      if (this.#listed.has(chosen)) $("model").value = chosen;
      else await this.#describe(signal);
    });
  }

  #choose() {
    return this.#attempt((signal) => this.#describe(signal));
  }

  async #describe(signal) {
    const model = this.#listed.get($("model").value);
    $("input").replaceChildren();
    $("prediction").hidden = true;
    tell($("model-about"), model ? model.description : "This server has no models.");
    if (!model) return;
    const described = await json(await this.#patiently("GET", pathOf(model), { signal }));
    if (!described.input_schema) {
      tell($("model-about"), `${model.description} It has not been loaded, so its input is not known.`);
      return;
    }
    this.form = new SchemaForm(described.input_schema);
    const send = make("button", { type: "submit", className: "primary" }, "Send");
    $("input").append(...this.form.elements, make("div", { className: "buttons" }, send));
  }

  #predict() {
    return this.#attempt(async (signal) => {
      const body = JSON.stringify(await this.form.value());
      const path = `${$("model").value}/predict`;
      const answered = await this.#patiently("POST", path, { body, type: "application/json", signal });
      this.#answer = await json(answered);
      $("prediction-json").textContent = readable(this.#answer);
      const about = `${answered.header("X-Model")} answered in ${Math.round(answered.seconds * 1000)} ms.`;
      $("prediction-about").textContent = about;
      $("prediction").hidden = false;
      announce(about);
    });
  }

  #patiently(method, path, options) {
    const wait = (left, failure) => announce(`${failure.message} Trying again in ${left} s.`);
    return patiently(() => request(method, path, options), options.signal, wait);
  }

  /** Do something, instead of what was begun before, and say where it fails. */
  async #attempt(action) {
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    $("models-problem").hidden = true;
    $("input").setAttribute("aria-busy", true);
    try {
      await action(running.signal);
    } catch (error) {
      if (!running.signal.aborted) this.#fail(error);
    } finally {
      if (this.#running === running) $("input").setAttribute("aria-busy", false);
    }
  }

  #fail(error) {
    if (error instanceof BadField) this.form.complain(error.field, error.message);
    else if (error instanceof Failure && error.field && this.form?.complain(error.field, error.detail)) return;
    else explain($("models-problem"), error);
  }
}

function titleOf({ name, version, state, default: isDefault, display_name: title }) {
  const facts = [isDefault ? "" : "not the default", state === "ready" ? "" : state].filter(Boolean);
  return `${title && title !== name ? `${title}: ` : ""}${name} ${version}${facts.length ? ` (${facts.join(", ")})` : ""}`;
}
