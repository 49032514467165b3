// Escape closes the panels that are open, and leads back to what opened the one one was in.
"use strict";
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const panel of document.querySelectorAll("details[open]")) {
    const within = panel.contains(document.activeElement);
    panel.open = false;
    if (within) panel.querySelector("summary").focus();
  }
});
