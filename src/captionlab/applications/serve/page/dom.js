// Two short ways to what every module needs of the document.

/** Return the element of an id. */
export const $ = (id) => document.getElementById(id);

/** Return a new element with properties and children; strings become text, never HTML. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
