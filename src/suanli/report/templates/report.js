"use strict";
(function () {
  const byId = (id) => document.getElementById(id);

  // Light and dark: follows the system until the button is pressed.
  const theme = byId("theme");
  const dark = () => (document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : window.matchMedia("(prefers-color-scheme: dark)").matches);
  const label = () => { theme.textContent = dark() ? "light" : "dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    label();
  });
  label();

  // Sort the ranked table by a click on a heading; a second click turns the order round.
  const table = byId("ranked");
  if (table) {
    const body = table.tBodies[0];
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
      const up = head.dataset.order !== "up";
      heads.forEach((other) => { delete other.dataset.order; });
      head.dataset.order = up ? "up" : "down";
      const key = (row) => {
        const text = row.cells[column].dataset.sort;
        const number = Number(text === "inf" ? "Infinity" : text);
        return Number.isNaN(number) ? text : number;
      };
      const rows = Array.from(body.rows).sort((a, b) => {
        const x = key(a), y = key(b);
        return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
      });
      rows.forEach((row, index) => { row.classList.toggle("late", index >= 15); body.append(row); });
    }));
  }
  const more = byId("more");
  if (more) {
    more.hidden = false;
    table.classList.add("short");
    more.addEventListener("click", () => { table.classList.remove("short"); more.hidden = true; });
  }

  // Filter the inputs: every word has to occur in the row.
  const filter = byId("filter");
  if (filter) {
    filter.hidden = false;
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      byId("inputs-table").closest("details").open = true;
      for (const row of byId("inputs-table").tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }

  // Tooltips of marks that carry data-tip.
  const tip = byId("tip");
  const show = (event) => {
    const mark = event.target.closest("[data-tip]");
    tip.classList.toggle("on", Boolean(mark));
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const room = 12;
    const x = Math.min(event.clientX + room, window.innerWidth - tip.offsetWidth - room);
    const y = event.clientY + tip.offsetHeight + 2 * room > window.innerHeight
      ? event.clientY - tip.offsetHeight - room : event.clientY + room;
    tip.style.transform = `translate(${x}px, ${y}px)`;
  };
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);

  // Print unfolded.
  window.addEventListener("beforeprint", () => document.querySelectorAll("#details details").forEach((one) => { one.open = true; }));
})();
