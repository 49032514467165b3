// Looks again from time to time, and exchanges what has changed. Without this script the page asks
// the browser to reload it instead. Nobody is disturbed in the middle of something: as long as a
// panel is open, a field has the focus, or the page is not looked at, it waits. Numbers that could
// not be looked for again are told to be old.
"use strict";
const every = Number(document.currentScript.dataset.every) * 1000;
const old = document.querySelector("[data-old]");
let seen = new Date(), looking = false;

function busy() {
  const at = document.activeElement;
  return looking || document.hidden || document.querySelector("[data-live] details[open]") !== null ||
    (at !== null && at.closest("[data-live] form") !== null) || !getSelection().isCollapsed;
}

// What may have the focus, each with a name that its next state has too, and its place among those.
function stops(part) {
  const seen = {};
  return [...part.querySelectorAll("a, summary, [tabindex]")].map((stop) => {
    const told = stop.getAttribute("href") ?? stop.getAttribute("aria-label") ?? stop.textContent;
    seen[told] = (seen[told] ?? 0) + 1;
    return { stop, name: `${told} ${seen[told]}` };
  });
}

function exchange(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const found = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!found) return location.reload(); // signed out, most likely
    const at = stops(part).find(({ stop }) => stop === document.activeElement)?.name;
    const aside = [...part.querySelectorAll(".scroll")].map((table) => table.scrollLeft);
    part.innerHTML = found.innerHTML;
    part.querySelectorAll(".scroll").forEach((table, nth) => { table.scrollLeft = aside[nth] ?? 0; });
    if (at) stops(part).find(({ name }) => name === at)?.stop.focus({ preventScroll: true });
  }
}

function tell(answered) {
  if (answered) seen = new Date();
  else old.querySelector("time").textContent = `${seen.toISOString().slice(11, 19)} UTC`;
  old.hidden = answered;
}

async function look() {
  if (busy()) return;
  looking = true;
  let text = null;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", signal: AbortSignal.timeout(20000) });
    if (answer.ok) text = await answer.text();
  } catch {
    // The next look may find it again.
  }
  looking = false;
  tell(text !== null);
  if (text !== null && !busy()) exchange(new DOMParser().parseFromString(text, "text/html"));
}

setInterval(look, every);
document.addEventListener("visibilitychange", look);
