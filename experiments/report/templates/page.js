"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const make = (name, text, parent) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  };

  // --- colours ---
  const switches = [...document.querySelectorAll(".theme button")];
  const paint = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    for (const one of switches) one.setAttribute("aria-pressed", String(one.dataset.theme === theme));
  };
  const kept = () => { try { return localStorage.getItem("sepnas-theme") || ""; } catch { return ""; } };
  for (const one of switches)
    one.addEventListener("click", () => {
      paint(one.dataset.theme);
      try { localStorage.setItem("sepnas-theme", one.dataset.theme); } catch { /* a page from a file may keep nothing */ }
    });
  paint(kept());

  // --- what is pointed at ---
  const tip = document.getElementById("tip");
  const families = read("families");
  const blocks = (text) => text.split(" | ").slice(2, -1).map((part) => part.split(" ")[0]).filter((name) => name in families);
  const show = (event, value) => {
    tip.hidden = !value;
    if (!value) return;
    tip.replaceChildren();
    make("b", value.title, tip);
    const list = make("dl", undefined, tip);
    for (const [name, figure] of value.figures) {
      make("dt", name, list);
      make("dd", figure, list);
    }
    const names = blocks(value.architecture);
    if (names.length) {
      const row = make("ol", undefined, tip);
      for (const name of names) make("li", name, row).style.setProperty("--own", families[name]);
    }
    const box = tip.getBoundingClientRect();
    const left = event.clientX + 16 + box.width > innerWidth ? event.clientX - box.width - 16 : event.clientX + 16;
    const top = event.clientY + 16 + box.height > innerHeight ? event.clientY - box.height - 16 : event.clientY + 16;
    tip.style.left = `${Math.max(8, Math.min(left, innerWidth - box.width - 8))}px`;
    tip.style.top = `${Math.max(8, top)}px`;
  };
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

  // --- charts ---
  const drawn = [];
  for (const [name, spec] of Object.entries(read("specs"))) {
    const place = document.getElementById(`chart-${name}`);
    if (!place) continue;
    let width = place.clientWidth;
    const options = {
      mode: "vega", renderer: "svg", actions: false, hover: true,
      tooltip: (handler, event, item, value) => show(event, value),
    };
    drawn.push(window.vegaEmbed(place, { ...spec, width }, options).then(({ view }) => {
      new ResizeObserver(() => {
        if (place.clientWidth === width || !place.clientWidth) return;
        width = place.clientWidth;
        view.width(width).runAsync();
      }).observe(place);
    }));
  }
  Promise.all(drawn).then(() => { document.documentElement.dataset.drawn = "yes"; });

  // --- the table ---
  const table = document.getElementById("networks");
  if (!table) return;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const rising = head.getAttribute("aria-sort") === "descending" || (column === 0 && head.getAttribute("aria-sort") !== "ascending");
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => (isNaN(a) || isNaN(b) ? String(a).localeCompare(String(b)) : a - b);
    const rows = [...table.tBodies[0].rows].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      return rising ? compare(a, b) : compare(b, a);
    });
    table.tBodies[0].append(...rows);
  }));
})();
