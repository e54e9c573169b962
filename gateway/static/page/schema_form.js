// A form made from the JSON Schema of a model's input: a field for each member, and its value as JSON.

import { make } from "./dom.js";

const ANYTHING = "json";

/** A field whose text cannot be what its schema says. */
export class BadField extends Error {
  constructor(name, message) {
    super(message);
    this.field = name;
  }
}

/** The schema itself, without references and without "or null". */
function resolved(schema, root) {
  let found = schema;
  if (found.$ref) {
    const path = found.$ref.slice(2).split("/");
    found = { ...path.reduce((part, name) => part?.[name], root), ...found, $ref: undefined };
  }
  const choices = found.anyOf?.filter((choice) => choice.type !== "null");
  if (choices?.length === 1) return { ...resolved(choices[0], root), ...found, anyOf: undefined };
  return found;
}

const isBytes = (schema) => schema.contentEncoding === "base64" || ["binary", "base64url"].includes(schema.format);

function kindOf(schema, root) {
  if (schema.enum) return "choice";
  if (isBytes(schema)) return "file";
  if (schema.type === "array" && schema.items && isBytes(resolved(schema.items, root))) return "files";
  return ["boolean", "integer", "number", "string"].includes(schema.type) ? schema.type : ANYTHING;
}

/** A value that a schema might take, for a person to change, with all members that an object may have. */
function example(schema, root, depth = 0) {
  const found = resolved(schema ?? {}, root);
  if (found.default !== undefined) return found.default;
  if (found.enum) return found.enum[0];
  if (found.const !== undefined) return found.const;
  if (depth > 4) return null;
  switch (found.type) {
    case "array":
      return [example(found.items, root, depth + 1)];
    case "object": {
      const members = Object.entries(found.properties ?? {});
      return Object.fromEntries(members.map(([name, part]) => [name, example(part, root, depth + 1)]));
    }
    case "string":
      return "";
    case "boolean":
      return false;
    default:
      return found.anyOf ? example(found.anyOf[0], root, depth + 1) : found.minimum ?? 0;
  }
}

/** The fields of one input. */
export class SchemaForm {
  constructor(schema) {
    this.schema = schema;
    const properties = Object.entries(schema.properties ?? {});
    const required = new Set(schema.required);
    this.fields = properties.map(([name, part]) => new Field(name, resolved(part, schema), schema, required.has(name)));
    // An input without named members is one field.
    if (!this.fields.length) this.fields = [new Field("", schema, schema, true)];
  }

  get elements() {
    return this.fields.map((field) => field.element);
  }

  /** The input; throws BadField where a field is not as it should be. */
  async value() {
    for (const field of this.fields) field.complain("");
    const members = {};
    for (const field of this.fields) {
      const value = await field.value();
      if (field.name === "") return value;
      if (value !== undefined) members[field.name] = value;
    }
    return members;
  }

  /** Say at the field that a path such as `pictures.2.data` begins with what is wrong; false where there is none. */
  complain(path, message) {
    const field = this.fields.find(({ name }) => name === path.split(".")[0]);
    field?.complain(message);
    field?.control.focus();
    return Boolean(field);
  }
}

class Field {
  constructor(name, schema, root, isRequired) {
    this.name = name;
    this.schema = schema;
    this.isRequired = isRequired;
    this.kind = kindOf(schema, root);
    this.control = this.#control(root);
    this.control.id = `input-${name}`;
    this.problem = make("p", { className: "problem", id: `input-${name}-problem`, hidden: true });
    this.control.setAttribute("aria-describedby", `${this.problem.id} input-${name}-note`);
    const title = [name || "Input", isRequired ? "" : " (optional)"].join("");
    this.element = make(
      "div",
      { className: "option" },
      make("label", { htmlFor: this.control.id }, title),
      this.control,
      make("p", { className: "note", id: `input-${name}-note` }, this.#note()),
      this.problem,
    );
  }

  #control(root) {
    const { default: preset, minimum, maximum, exclusiveMinimum, exclusiveMaximum } = this.schema;
    const value = preset ?? "";
    switch (this.kind) {
      case "file":
      case "files":
        return make("input", { type: "file", multiple: this.kind === "files" });
      case "integer":
      case "number": {
        const step = this.kind === "integer" ? 1 : "any";
        const [min, max] = [minimum ?? exclusiveMinimum ?? "", maximum ?? exclusiveMaximum ?? ""];
        return make("input", { type: "number", step, min, max, value });
      }
      case "boolean":
        return this.#select([false, true], preset);
      case "choice":
        return this.#select(this.schema.enum, preset);
      case "string":
        return make("textarea", { rows: 2, value });
      default: {
        const value = preset === undefined || preset === null ? "" : JSON.stringify(preset);
        const placeholder = `Such as ${JSON.stringify(example(this.schema, root))}`;
        return make("textarea", { rows: 4, className: "code", spellcheck: false, value, placeholder });
      }
    }
  }

  #select(values, preset) {
    const choices = values.map((value) => make("option", { value: JSON.stringify(value) }, String(value)));
    if (!this.isRequired && preset === undefined) choices.unshift(make("option", { value: "" }, "–"));
    const select = make("select", {}, ...choices);
    if (preset !== undefined) select.value = JSON.stringify(preset);
    return select;
  }

  #note() {
    const kinds = { json: "JSON", integer: "Whole number", number: "Number" };
    const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, description = "" } = this.schema;
    const bounds = [["at least", minimum], ["above", exclusiveMinimum], ["at most", maximum], ["below", exclusiveMaximum]];
    const told = bounds.filter(([, bound]) => bound !== undefined).map((bound) => bound.join(" "));
    const facts = [kinds[this.kind], ...told].filter(Boolean).join(", ");
    const sentences = [description.replace(/\.$/, ""), facts].filter(Boolean);
    return sentences.map((sentence) => `${sentence}.`).join(" ");
  }

  complain(message) {
    this.problem.textContent = message;
    this.problem.hidden = !message;
    this.control.setAttribute("aria-invalid", Boolean(message));
  }

  /** Its value; undefined where it is left out. */
  async value() {
    if (this.kind === "file" || this.kind === "files") return this.#files();
    const text = this.control.value;
    if (this.control.validity.badInput) throw new BadField(this.name, "This is no number.");
    if (text === "" && !(this.isRequired && this.kind === "string")) {
      if (this.isRequired) throw new BadField(this.name, "This is needed.");
      return undefined;
    }
    if (this.kind === "string") return text;
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new BadField(this.name, `This is no JSON: ${error.message}`);
    }
  }

  async #files() {
    const files = [...this.control.files];
    if (!files.length && this.isRequired) throw new BadField(this.name, "A file is needed.");
    if (!files.length) return undefined;
    const texts = await Promise.all(files.map(base64));
    return this.kind === "files" ? texts : texts[0];
  }
}

/** A file as base64. */
function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
