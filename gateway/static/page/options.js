// The options of detection: read from their form, and told about when they have changed.

import { $, tell } from "./dom.js";

const SETTLED_MILLISECONDS = 250;

/**
 * The options that differ from their defaults, as parameters of a query.
 *
 * Null where one of them is outside its range; the form then says which.
 */
export function chosen() {
  const inputs = [...$("options").querySelectorAll("[name]")];
  const bad = inputs.find((input) => !input.validity.valid);
  for (const input of inputs) input.setAttribute("aria-invalid", input === bad);
  tell($("options-problem"), bad ? complaint(bad) : "");
  if (bad) return null;
  const changed = inputs.filter((input) => input.value !== input.defaultValue);
  return Object.fromEntries(changed.map((input) => [input.name, input.value]));
}

function complaint({ labels, step, min, max }) {
  return `${labels[0].textContent}: ${step === "1" ? "a whole number" : "a number"} from ${min} to ${max}.`;
}

/** Call back with the options when they have changed and rest. */
export function onOptions(changed) {
  const form = $("options");
  let timer = 0;
  const settle = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const query = chosen();
      if (query) changed(query);
    }, SETTLED_MILLISECONDS);
  };
  for (const slider of form.querySelectorAll(".slider")) {
    const number = slider.parentElement.querySelector("[name]");
    slider.value = number.value;
    slider.addEventListener("input", () => (number.value = slider.value));
    number.addEventListener("input", () => (slider.value = number.value));
  }
  form.addEventListener("input", (event) => {
    if (event.target !== $("marks")) settle();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  $("defaults").addEventListener("click", () => {
    for (const input of form.querySelectorAll("[name]")) {
      input.value = input.defaultValue;
      const slider = input.parentElement.querySelector(".slider");
      if (slider) slider.value = input.value;
    }
    settle();
  });
}
