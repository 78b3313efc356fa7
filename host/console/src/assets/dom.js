// The few things that every module does with the page.

/** The one element of this selector. */
export const one = (selector, within = document) => within.querySelector(selector);

/** All elements of this selector. */
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];

/** An element with properties and children; text is always text. */
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

/** Changes a text only where it differs, so that nothing is announced or drawn for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Runs the work of a button: meanwhile it is busy, and its outcome is said in `output`. */
export async function busy(button, output, work) {
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  output?.classList.remove("error");
  try {
    const text = await work();
    if (output && text !== undefined) say(output, text);
    return true;
  } catch (error) {
    if (output) {
      output.classList.add("error");
      say(output, explain(error));
    }
    return false;
  } finally {
    button.removeAttribute("aria-busy");
    button.disabled = false;
  }
}

/** An error in the words of the API, with its hint. */
export function explain(error) {
  return error.hint ? `${error.message}. ${error.hint}` : error.message;
}
