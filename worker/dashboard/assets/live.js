// Fetches the page again from time to time and replaces what has changed. Without this script the
// page makes the browser reload it instead. It waits while a panel is open, a field has the focus or
// the page is not visible, so that it interrupts no one. Numbers that could not be refreshed are
// marked as out of date.
"use strict";
const every = Number(document.currentScript.dataset.every) * 1000;
const outdated = document.querySelector("[data-outdated]");
let refreshed = new Date(), refreshing = false;

function busy() {
  const active = document.activeElement;
  return refreshing || document.hidden || document.querySelector("[data-live] details[open]") !== null ||
    (active !== null && active.closest("[data-live] form") !== null) || !getSelection().isCollapsed;
}

// What can have the focus, each under a name that it keeps when it is replaced: its target or text,
// and its position among those of the same one.
function focusable(part) {
  const counts = {};
  return [...part.querySelectorAll("a, summary, [tabindex]")].map((element) => {
    const text = element.getAttribute("href") ?? element.getAttribute("aria-label") ?? element.textContent;
    counts[text] = (counts[text] ?? 0) + 1;
    return { element, name: `${text} ${counts[text]}` };
  });
}

function replace(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const found = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!found) return location.reload(); // signed out, most likely
    const focused = focusable(part).find(({ element }) => element === document.activeElement)?.name;
    const scrolled = [...part.querySelectorAll(".scroll")].map((table) => table.scrollLeft);
    part.innerHTML = found.innerHTML;
    part.querySelectorAll(".scroll").forEach((table, nth) => { table.scrollLeft = scrolled[nth] ?? 0; });
    if (focused) focusable(part).find(({ name }) => name === focused)?.element.focus({ preventScroll: true });
  }
}

function markOutdated(answered) {
  if (answered) refreshed = new Date();
  else outdated.querySelector("time").textContent = `${refreshed.toISOString().slice(11, 19)} UTC`;
  outdated.hidden = answered;
}

async function refresh() {
  if (busy()) return;
  refreshing = true;
  let text = null;
  try {
    const response = await fetch(location.href, { credentials: "same-origin", signal: AbortSignal.timeout(20000) });
    if (response.ok) text = await response.text();
  } catch {
    // The next refresh may succeed.
  }
  refreshing = false;
  markOutdated(text !== null);
  if (text !== null && !busy()) replace(new DOMParser().parseFromString(text, "text/html"));
}

setInterval(refresh, every);
document.addEventListener("visibilitychange", refresh);
