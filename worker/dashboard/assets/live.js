// Looks again from time to time, and exchanges what has changed. Without this script the page asks
// the browser to reload it instead. Nobody is disturbed in the middle of something: as long as a
// panel is open, a field has the focus, or the page is not looked at, it waits.
"use strict";
const every = Number(document.currentScript.dataset.every) * 1000;

function busy() {
  const at = document.activeElement;
  return document.hidden || document.querySelector("[data-live] details[open]") !== null ||
    (at !== null && at.closest("[data-live] form") !== null) || !getSelection().isCollapsed;
}

function exchange(fresh) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const found = fresh.querySelector(`[data-live="${old.dataset.live}"]`);
    if (!found) return location.reload(); // signed out, most likely
    const at = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    old.innerHTML = found.innerHTML;
    if (at) old.querySelector(`a[href="${CSS.escape(at)}"]`)?.focus();
  }
}

setInterval(async () => {
  if (busy()) return;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin" });
    const text = await answer.text();
    if (answer.ok && !busy()) exchange(new DOMParser().parseFromString(text, "text/html"));
  } catch {
    // The next look may find it again.
  }
}, every);
