/** Everything of this function is found relative to the page, so that it works behind a stage or a base path. */
const base = new URL("./", location.href);
const answer = await fetch(new URL(".well-known/oauth-protected-resource", base));
const metadata = await answer.json();
/** @type {HTMLElement} */ (document.querySelector("#status")).textContent = metadata.resource;
