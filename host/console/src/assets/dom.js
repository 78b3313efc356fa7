// Helpers for the page's elements.

/** The first element that matches. */
export const one = (selector, within = document) => within.querySelector(selector);

/** All elements that match. */
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];

/** A new element with properties and children. A string child is text, never markup. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

/** Sets the text of an element if it differs. An equal text would be announced and drawn again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Runs the action of a button. The button is disabled meanwhile, and `output` shows the result. */
export async function runAction(button, output, action) {
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  output?.classList.remove("error");
  try {
    const text = await action();
    if (output && text !== undefined) setText(output, text);
    return true;
  } catch (error) {
    if (output) {
      output.classList.add("error");
      setText(output, explain(error));
    }
    return false;
  } finally {
    button.removeAttribute("aria-busy");
    button.disabled = false;
  }
}

/** The message of an error, with its hint. */
export function explain(error) {
  return error.hint ? `${error.message}. ${error.hint}` : error.message;
}
