// Notes when each event's element appears in the page, in which pane, and what was where before.
window.releases = [];
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`),
);
new MutationObserver((records) => {
  const nowMs = performance.timeOrigin + performance.now();
  for (const record of records) {
    for (const node of record.addedNodes) {
      if (!(node instanceof Element)) continue;
      const found = [node, ...node.querySelectorAll("[data-event-id]")];
      for (const element of found.filter((one) => one.hasAttribute("data-event-id"))) {
        const panes = [...document.querySelectorAll("[data-pane]")];
        window.releases.push({
          id: element.dataset.eventId,
          type: element.dataset.eventType,
          pane: panes.indexOf(element.closest("[data-pane]")),
          at_ms: nowMs,
        });
      }
    }
  }
}).observe(document, { childList: true, subtree: true });
