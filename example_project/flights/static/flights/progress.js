// Moves the bars of the imports page. Without it the page reloads itself.
"use strict";

(() => {
  const POLL_MS = 600;
  const table = document.getElementById("imports");
  const standing = document.getElementById("standing");
  const number = new Intl.NumberFormat("en");
  const seconds = (value) => (value === null ? "–" : `${value.toFixed(1)} s`);

  function show(airline) {
    const row = table.querySelector(`tr[data-airline="${airline.airline}"]`);
    if (!row) return;
    const put = (field, text) => {
      const cell = row.querySelector(`[data-field="${field}"]`);
      if (cell.textContent !== text) cell.textContent = text;
    };
    const bar = row.querySelector("progress");
    bar.max = airline.rows;
    bar.value = airline.stored;
    row.dataset.state = airline.state;
    put("percent", String(airline.percent));
    put("stored", number.format(airline.stored));
    put("first", seconds(airline.first_after));
    put("after", seconds(airline.finished_after));
    put("state", airline.state);
    row.querySelector('[data-field="link"]').hidden = !airline.is_finished;
  }

  function say(airlines) {
    const finished = airlines.filter((airline) => airline.is_finished).length;
    const text =
      finished === airlines.length
        ? "Every import is finished."
        : `${finished} of ${airlines.length} airlines are finished.`;
    // Only a change is announced to those who listen instead of look.
    if (standing.textContent.trim() !== text) standing.textContent = text;
    standing.dataset.finished = String(finished === airlines.length);
    return finished === airlines.length;
  }

  async function poll() {
    let done = false;
    if (!document.hidden) {
      try {
        const response = await fetch(table.dataset.url, { headers: { Accept: "application/json" } });
        if (response.ok) {
          const { airlines } = await response.json();
          airlines.forEach(show);
          done = say(airlines);
        }
      } catch {
        standing.textContent = "The site does not answer. Trying again…";
      }
    }
    if (!done) setTimeout(poll, POLL_MS);
  }

  poll();
})();
